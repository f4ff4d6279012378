//! Health data that does not print.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value that is protected health information (or names a person): it can be stored, compared and sent
/// to who may see it, but neither `Debug` nor a log line shows it. There is no `Display`.
///
/// ```
/// use lettercase::model::phi::Phi;
/// assert_eq!(format!("{:?}", Phi("Ada Muster")), "Phi(…)");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phi<T>(pub T);

impl<T> Phi<T> {
    /// The value itself. Each call is a place where health data leaves its wrapper: keep them few.
    pub fn reveal(&self) -> &T {
        &self.0
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Phi<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phi(…)")
    }
}

impl<T: utoipa::PartialSchema> utoipa::PartialSchema for Phi<T> {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        T::schema()
    }
}

impl<T: utoipa::ToSchema> utoipa::ToSchema for Phi<T> {}

impl<T> From<T> for Phi<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}
