//! Requests that are not a scrape, or not a good one.
