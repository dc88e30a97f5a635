//! github-api.md §17.

use super::*;
use Method::{Delete, Get, Patch, Post, Put};

const ISSUES: &str = "/repos/acme/app/issues";
