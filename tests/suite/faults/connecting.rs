//! Faults on the way to a session.
