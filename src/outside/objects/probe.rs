//! The readiness probe, the same for every store.

use super::error::Trouble;
use super::{ObjectError, ObjectKey, Objects, Place};

const TEXT: &[u8] = b"lettercase readiness probe";

/// Writes, reads and deletes a probe in `incoming` and looks into every place.
pub(super) async fn run(objects: &dyn Objects) -> Result<(), ObjectError> {
    let key = ObjectKey::probe(rand::random());
    objects.put_bytes(&key, TEXT.to_vec()).await?;
    let read = objects.get_bytes(&key, TEXT.len()).await;
    // The probe goes away also when it did not read well.
    objects.delete(&key).await?;
    if read?.as_deref() != Some(TEXT) {
        return Err(ObjectError::Mismatch(Trouble::new("check", &key, "the probe did not read back as written")));
    }
    for place in Place::ALL {
        objects.list(*place, None, 1).await?;
    }
    Ok(())
}
