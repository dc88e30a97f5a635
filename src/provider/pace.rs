//! (pace)
