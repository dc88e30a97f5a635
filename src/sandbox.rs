//! A small Asana and a small GitHub that behave as the services do, for the demo and the tests.
