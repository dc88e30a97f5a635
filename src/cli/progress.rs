//! Shows how a pass gets on.
