//! Real or trial: each brand has a twin for trials (INT-35).

use crate::codes;
use crate::model::ids::Brand;

codes! {
    /// Whether something is real or an integrator's trial (INT-35).
    pub enum Mode {
        /// Real.
        Live = "live",
        /// A trial: kept apart from the real, with outcomes by the file's name.
        Test = "test",
    }
}

/// What a brand's name ends with where it holds trials.
const TEST_SUFFIX: &str = ".test";

impl Brand {
    /// Whether what belongs to this brand is real. Each brand has a twin for trials, so that their members, cases,
    /// contents and documents never meet.
    pub fn mode(&self) -> Mode {
        if self.as_str().ends_with(TEST_SUFFIX) { Mode::Test } else { Mode::Live }
    }

    /// This brand or its twin, whichever is of that mode.
    pub fn in_mode(&self, mode: Mode) -> Self {
        let base = self.as_str().strip_suffix(TEST_SUFFIX).unwrap_or(self.as_str());
        let name = match mode {
            Mode::Live => base.to_owned(),
            Mode::Test => format!("{base}{TEST_SUFFIX}"),
        };
        name.parse().unwrap_or_else(|_| self.clone())
    }

    /// Which brand a caller of that mode means by this name: a live one that is served, as it is named; for trials
    /// its twin, named by its own name or by that of the brand. `None`: none that is for this caller.
    pub fn meant_by(&self, mode: Mode, served: &[Self]) -> Option<Self> {
        let twin = self.in_mode(mode);
        let ours = served.contains(&self.in_mode(Mode::Live));
        (ours && (*self == twin || self.mode() == Mode::Live)).then_some(twin)
    }
}
