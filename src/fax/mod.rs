//! Answers by fax (COR-13): a letter's PDF becomes a picture that a fax machine takes, lies once in the folder of a fax
//! gateway, and is delivered when that says so. What can't be sent by fax goes on paper.

pub mod folder;
pub mod picture;
