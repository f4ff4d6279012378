//! Why a person does something, in their own words.

/// The longest, in characters.
const LONGEST: usize = 200;

/// Checks a person's reason, and takes blanks around it off.
///
/// # Errors
/// A sentence that says the rule, without the words.
pub fn check(words: &str) -> Result<&str, &'static str> {
    let words = words.trim();
    if words.is_empty() || words.chars().count() > LONGEST || words.chars().any(char::is_control) {
        return Err("reason must have 1 to 200 characters, none of them a control character");
    }
    Ok(words)
}
