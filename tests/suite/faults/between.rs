//! Faults that come while nothing is asked: Lambda has frozen the process.
