//! Stages and work; it knows no documents.
