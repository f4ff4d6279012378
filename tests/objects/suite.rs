//! What holds of every store.

use std::collections::BTreeSet;
use std::sync::Arc;

use lettercase::outside::objects::{ObjectError, ObjectKey, Objects, Place, Tag};
use tempfile::TempDir;

use super::world::{Sample, brand, content, incoming, sha256};

/// Where servers differ.
#[derive(Clone, Copy)]
pub(super) struct Server {
    /// False for one that takes any bytes for any hash.
    pub(super) verifies: bool,
    /// False for one where half a copy can be seen: then copies of the same content at once may have to be
    /// repeated, as the caller does with every retryable error.
    pub(super) copies_whole: bool,
}

/// Runs all of it on an empty store.
pub(super) async fn all(objects: Arc<dyn Objects>, server: Server) {
    let store = objects.as_ref();
    the_check_passes_and_leaves_nothing(store).await;
    what_was_put_is_fetched_again(store).await;
    an_empty_file_is_an_object_too(store).await;
    a_put_can_be_repeated(store).await;
    a_file_of_another_size_is_refused(store).await;
    if server.verifies {
        a_file_of_another_hash_is_refused(store).await;
    }
    a_copy_can_be_repeated_and_outlives_its_source(store).await;
    a_copy_of_other_bytes_than_were_scanned_is_refused(store).await;
    a_copy_of_nothing_is_not_found(store).await;
    infected_bytes_go_from_content_to_quarantine(store).await;
    a_fetch_of_unexpected_bytes_leaves_no_file(store).await;
    small_objects_are_read_up_to_a_limit(store).await;
    a_delete_can_be_repeated(store).await;
    parts_of_an_upload_are_listed_in_their_order(store).await;
    the_same_content_at_once_is_stored_once(&objects, server.copies_whole).await;
    // Last: it counts on what the others left in the place.
    a_listing_comes_in_ordered_pages(store).await;
}

async fn the_check_passes_and_leaves_nothing(store: &dyn Objects) {
    store.check().await.unwrap();
    for place in Place::ALL {
        assert_eq!(store.list(*place, None, 10).await.unwrap(), []);
    }
}

async fn what_was_put_is_fetched_again(store: &dyn Objects) {
    let (sample, key, dir) = (Sample::of(700_001), incoming(), TempDir::new().unwrap());
    let version = sample.put(store, &key).await;
    let to = dir.path().join("fetched");
    let fetched = store.fetch(&key, version.as_deref(), &to, Some(&sample.sha256)).await.unwrap();
    assert_eq!(fetched.size_bytes, sample.size());
    assert!(std::fs::read(&to).unwrap() == sample.bytes);
    let meta = store.head(&key).await.unwrap().unwrap();
    assert_eq!(meta.size_bytes, sample.size());
    assert!(meta.sha256.is_none_or(|recorded| recorded == sample.sha256));
    assert_eq!(meta.version, version);
    assert!(store.head(&incoming()).await.unwrap().is_none());
}

async fn an_empty_file_is_an_object_too(store: &dyn Objects) {
    let (sample, key) = (Sample::of(0), incoming());
    sample.put(store, &key).await;
    assert_eq!(store.head(&key).await.unwrap().unwrap().size_bytes, 0);
    assert_eq!(store.get_bytes(&key, 0).await.unwrap(), Some(Vec::new()));
}

async fn a_put_can_be_repeated(store: &dyn Objects) {
    let (sample, key) = (Sample::of(10_000), incoming());
    sample.put(store, &key).await;
    sample.put(store, &key).await;
    assert_eq!(store.get_bytes(&key, 10_000).await.unwrap().unwrap(), sample.bytes);
}

async fn a_file_of_another_size_is_refused(store: &dyn Objects) {
    let (sample, key) = (Sample::of(1000), incoming());
    for size in [999, 1001] {
        let error = store.put_file(&key, &sample.path, size, &sample.sha256).await.unwrap_err();
        assert!(matches!(error, ObjectError::Mismatch(_)), "{error}");
    }
    assert!(store.head(&key).await.unwrap().is_none());
}

async fn a_file_of_another_hash_is_refused(store: &dyn Objects) {
    for size in [1000, 3_000_000] {
        let (sample, other, key) = (Sample::of(size), Sample::of(size), incoming());
        let error = store.put_file(&key, &sample.path, sample.size(), &other.sha256).await.unwrap_err();
        assert!(matches!(error, ObjectError::Mismatch(_)) && !error.is_retryable(), "{error}");
        assert!(store.head(&key).await.unwrap().is_none(), "nothing is visible");
    }
}

async fn a_copy_can_be_repeated_and_outlives_its_source(store: &dyn Objects) {
    let (sample, from, dir) = (Sample::of(50_000), incoming(), TempDir::new().unwrap());
    let version = sample.put(store, &from).await;
    let to = content(&sample);
    for source_is_there in [true, true, false] {
        if !source_is_there {
            store.delete(&from).await.unwrap();
        }
        let copied =
            store.copy(&from, version.as_deref(), &to, &sample.sha256, sample.size(), Tag::Clean).await.unwrap();
        assert_eq!(copied.size_bytes, sample.size());
        let file = dir.path().join("copy");
        store.fetch(&to, copied.version.as_deref(), &file, Some(&sample.sha256)).await.unwrap();
    }
}

async fn a_copy_of_other_bytes_than_were_scanned_is_refused(store: &dyn Objects) {
    let (scanned, other, from) = (Sample::of(4000), Sample::of(4000), incoming());
    other.put(store, &from).await;
    let to = content(&scanned);
    for (sha256, size) in [(&scanned.sha256, 4000), (&other.sha256, 4001)] {
        let error = store.copy(&from, None, &to, sha256, size, Tag::Clean).await.unwrap_err();
        assert!(matches!(error, ObjectError::Mismatch(_)), "{error}");
        assert!(store.head(&to).await.unwrap().is_none());
    }
}

async fn a_copy_of_nothing_is_not_found(store: &dyn Objects) {
    let sample = Sample::of(10);
    let error = store.copy(&incoming(), None, &content(&sample), &sample.sha256, 10, Tag::Clean).await.unwrap_err();
    assert!(matches!(error, ObjectError::NotFound(_)) && !error.is_retryable(), "{error}");
}

async fn infected_bytes_go_from_content_to_quarantine(store: &dyn Objects) {
    let (sample, from) = (Sample::of(5000), incoming());
    sample.put(store, &from).await;
    let (clean, barred) = (content(&sample), ObjectKey::quarantine(&brand(), &sample.sha256));
    store.copy(&from, None, &clean, &sample.sha256, 5000, Tag::Clean).await.unwrap();
    store.copy(&clean, None, &barred, &sample.sha256, 5000, Tag::Quarantined).await.unwrap();
    store.delete(&clean).await.unwrap();
    store.delete(&from).await.unwrap();
    store.copy(&clean, None, &barred, &sample.sha256, 5000, Tag::Quarantined).await.unwrap();
    assert!(store.head(&clean).await.unwrap().is_none());
    assert_eq!(store.head(&barred).await.unwrap().unwrap().size_bytes, 5000);
}

async fn a_fetch_of_unexpected_bytes_leaves_no_file(store: &dyn Objects) {
    let (sample, key, dir) = (Sample::of(3000), incoming(), TempDir::new().unwrap());
    sample.put(store, &key).await;
    let to = dir.path().join("fetched");
    let error = store.fetch(&key, None, &to, Some(&sha256(b"other"))).await.unwrap_err();
    assert!(matches!(error, ObjectError::Mismatch(_)), "{error}");
    let error = store.fetch(&incoming(), None, &to, None).await.unwrap_err();
    assert!(matches!(error, ObjectError::NotFound(_)), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "neither the file nor a part of it");
}

async fn small_objects_are_read_up_to_a_limit(store: &dyn Objects) {
    let key = ObjectKey::audit("head.json").unwrap();
    assert_eq!(store.get_bytes(&key, 10).await.unwrap(), None);
    store.put_bytes(&key, b"first".to_vec()).await.unwrap();
    store.put_bytes(&key, b"second".to_vec()).await.unwrap();
    assert_eq!(store.get_bytes(&key, 6).await.unwrap().unwrap(), b"second");
    let error = store.get_bytes(&key, 5).await.unwrap_err();
    assert!(matches!(error, ObjectError::TooLarge(_)), "{error}");
}

async fn a_delete_can_be_repeated(store: &dyn Objects) {
    let (sample, key) = (Sample::of(100), incoming());
    sample.put(store, &key).await;
    sample.put(store, &key).await;
    for _ in 0..2 {
        store.delete(&key).await.unwrap();
        assert!(store.head(&key).await.unwrap().is_none());
    }
}

async fn parts_of_an_upload_are_listed_in_their_order(store: &dyn Objects) {
    let upload = uuid::Uuid::from_u128(rand::random()).to_string().parse().unwrap();
    let (sample, dir) = (Sample::of(1000), TempDir::new().unwrap());
    let keys = [1_000, 99, 0].map(|first_byte| ObjectKey::part(&upload, first_byte, rand::random()));
    for key in &keys {
        let version = sample.put(store, key).await;
        store.fetch(key, version.as_deref(), &dir.path().join("part"), Some(&sample.sha256)).await.unwrap();
    }
    let listed = store.list(Place::Parts, None, 10).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|(name, _)| ObjectKey::from_name(Place::Parts, name).unwrap()).collect();
    assert!(listed.iter().eq(keys.iter().rev()), "{listed:?}");
    for key in &keys {
        store.delete(key).await.unwrap();
    }
    assert_eq!(store.list(Place::Parts, None, 10).await.unwrap(), []);
}

async fn the_same_content_at_once_is_stored_once(objects: &Arc<dyn Objects>, copies_whole: bool) {
    let bytes = Sample::of(200_000).bytes;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, sample) = (Arc::clone(objects), Sample::with(bytes.clone()));
        running.spawn(async move {
            let from = incoming();
            let version = sample.put(store.as_ref(), &from).await;
            let to = content(&sample);
            for tries_left in (0..20).rev() {
                match store.copy(&from, version.as_deref(), &to, &sample.sha256, sample.size(), Tag::Clean).await {
                    Ok(_) => break,
                    Err(error) => {
                        assert!(!copies_whole && error.is_retryable() && tries_left > 0, "{error}");
                    }
                }
            }
            store.delete(&from).await.unwrap();
        });
    }
    running.join_all().await;
    let (sample, dir) = (Sample::with(bytes), TempDir::new().unwrap());
    objects.fetch(&content(&sample), None, &dir.path().join("x"), Some(&sample.sha256)).await.unwrap();
    let listed = objects.list(Place::Content, None, 100).await.unwrap();
    assert_eq!(listed.iter().filter(|(name, _)| *name == content(&sample).name()).count(), 1);
}

async fn a_listing_comes_in_ordered_pages(store: &dyn Objects) {
    // `-` sorts before `/`: an order by directories would put `a` before `a-b`.
    for brand in ["a", "a-b", "probe-b"] {
        for _ in 0..4 {
            let (sample, from) = (Sample::of(64), incoming());
            sample.put(store, &from).await;
            let to = ObjectKey::content(&brand.parse().unwrap(), &sample.sha256);
            store.copy(&from, None, &to, &sample.sha256, 64, Tag::Clean).await.unwrap();
        }
    }
    let whole = store.list(Place::Content, None, 1000).await.unwrap();
    let names: Vec<_> = whole.iter().map(|(name, _)| name.clone()).collect();
    assert!(names.len() >= 12);
    assert!(names.is_sorted(), "{names:?}");
    assert!(names.iter().all(|name| ObjectKey::from_name(Place::Content, name).is_ok()), "{names:?}");

    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(Place::Content, after.as_deref(), 5).await.unwrap();
        after = page.last().map(|(name, _)| name.clone());
        let full = page.len() == 5;
        paged.extend(page);
        if !full {
            break;
        }
    }
    assert_eq!(paged, whole);
    // A mark need not be a name that is there.
    let behind = store.list(Place::Content, Some("a-b/~"), 1).await.unwrap();
    assert!(behind.first().is_some_and(|(name, _)| name.starts_with("a/")), "{behind:?}");
    let unique: BTreeSet<_> = names.into_iter().collect();
    assert_eq!(unique.len(), whole.len());
}
