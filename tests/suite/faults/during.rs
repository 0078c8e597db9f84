//! Faults in the middle of a scrape.
