//! The domain without effects: no I/O, no async, no clock. Everything here is a value or a pure function.

pub mod access;
pub mod action;
pub mod address;
pub mod aging;
pub mod calendar;
pub mod case;
pub mod digest;
pub mod document;
pub mod event;
pub mod fax;
pub mod ids;
pub mod judgement;
pub mod letter;
pub mod matching;
pub mod message;
pub mod mode;
pub mod pages;
pub mod paper;
pub mod people;
pub mod phi;
pub mod reference;
pub mod retention;
pub mod route;
pub mod submission;
pub mod trial;
