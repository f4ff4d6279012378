//! S3 with versions, tags and encryption, on a server that keeps them (it takes any bytes for any hash).

use lettercase::outside::objects::{ObjectError, ObjectKey, S3Buckets, S3Encryption, S3Options, Tag};

use super::suite::{self, Server};
use super::world::{Moto, Sample, brand, content, incoming, open};

#[tokio::test]
async fn the_s3_store_with_versions_does_what_every_store_does() {
    let moto = Moto::start().await;
    suite::all(open(moto.options()).await.unwrap(), Server { verifies: false, copies_whole: true }).await;
}

#[tokio::test]
async fn a_copy_is_of_the_version_that_was_scanned() {
    let moto = Moto::start().await;
    let store = open(moto.options()).await.unwrap();
    let (scanned, later, from) = (Sample::of(3000), Sample::of(3000), incoming());
    let version = scanned.put(store.as_ref(), &from).await;
    assert!(version.is_some(), "the bucket keeps versions");
    later.put(store.as_ref(), &from).await;

    let to = content(&scanned);
    let copied = store.copy(&from, version.as_deref(), &to, &scanned.sha256, 3000, Tag::Clean).await.unwrap();
    assert!(copied.version.is_some());
    assert_eq!(store.get_bytes(&to, 3000).await.unwrap().unwrap(), scanned.bytes);

    let error = store.copy(&from, None, &content(&Sample::of(1)), &scanned.sha256, 3000, Tag::Clean).await.unwrap_err();
    assert!(matches!(error, ObjectError::Mismatch(_)), "the newest version was never scanned: {error}");
}

#[tokio::test]
async fn copies_are_tagged_and_encryption_is_asked_for() {
    let moto = Moto::start().await;
    let store = open(moto.options()).await.unwrap();
    let (sample, from) = (Sample::of(100), incoming());
    let barred = ObjectKey::quarantine(&brand(), &sample.sha256);
    sample.put(store.as_ref(), &from).await;
    store.copy(&from, None, &content(&sample), &sample.sha256, 100, Tag::Clean).await.unwrap();
    store.copy(&from, None, &barred, &sample.sha256, 100, Tag::Quarantined).await.unwrap();

    for (bucket, key, tag) in [
        ("docs-in", &from, None),
        ("docs-clean", &content(&sample), Some("clean")),
        ("docs-barred", &barred, Some("quarantined")),
    ] {
        let name = format!("lettercase/{key}");
        let tags = moto.client.get_object_tagging().bucket(bucket).key(&name).send().await.unwrap();
        let found: Vec<_> = tags.tag_set().iter().map(|t| (t.key(), t.value())).collect();
        assert_eq!(found, tag.map(|tag| ("lettercase-scan", tag)).into_iter().collect::<Vec<_>>(), "{key}");
        let head = moto.client.head_object().bucket(bucket).key(&name).send().await.unwrap();
        assert_eq!(head.server_side_encryption().map(|e| e.as_str()), Some("AES256"), "{key}");
        assert!(head.metadata().is_none_or(|metadata| metadata.is_empty()), "nothing of a document is in metadata");
    }

    let kms = S3Encryption::Kms { key_id: "alias/lettercase".into() };
    let store = open(S3Options { encryption: kms, ..moto.options() }).await.unwrap();
    let (sample, from) = (Sample::of(100), incoming());
    sample.put(store.as_ref(), &from).await;
    store.copy(&from, None, &content(&sample), &sample.sha256, 100, Tag::Clean).await.unwrap();
    for (bucket, key) in [("docs-in", &from), ("docs-clean", &content(&sample))] {
        let head = moto.client.head_object().bucket(bucket).key(format!("lettercase/{key}")).send().await.unwrap();
        assert_eq!(head.server_side_encryption().map(|e| e.as_str()), Some("aws:kms"), "{key}");
        assert!(head.ssekms_key_id().is_some_and(|id| id.ends_with("alias/lettercase")), "{key}");
    }
}

#[tokio::test]
async fn a_store_without_tags_is_not_sent_any() {
    let moto = Moto::start().await;
    let store = open(S3Options { tags: false, ..moto.options() }).await.unwrap();
    let (sample, from) = (Sample::of(100), incoming());
    sample.put(store.as_ref(), &from).await;
    store.copy(&from, None, &content(&sample), &sample.sha256, 100, Tag::Clean).await.unwrap();
    let name = format!("lettercase/{}", content(&sample));
    let tags = moto.client.get_object_tagging().bucket("docs-clean").key(name).send().await.unwrap();
    assert!(tags.tag_set().is_empty());
}

#[tokio::test]
async fn a_deleted_object_leaves_no_version_behind() {
    let moto = Moto::start().await;
    let store = open(moto.options()).await.unwrap();
    let key = ObjectKey::audit("head").unwrap();
    let longer = ObjectKey::audit("head-2").unwrap();
    for text in ["a", "b", "c"] {
        store.put_bytes(&key, text.into()).await.unwrap();
    }
    store.put_bytes(&longer, b"stays".to_vec()).await.unwrap();
    // As a plain delete leaves it: hidden and all there.
    moto.client.delete_object().bucket("docs-proof").key(format!("lettercase/{key}")).send().await.unwrap();
    for _ in 0..2 {
        store.delete(&key).await.unwrap();
        let left = moto.client.list_object_versions().bucket("docs-proof").send().await.unwrap();
        assert_eq!((left.versions().len(), left.delete_markers().len()), (1, 0));
    }
    assert_eq!(store.get_bytes(&longer, 5).await.unwrap().unwrap(), b"stays");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_a_wrong_setting() {
    let moto = Moto::start().await;
    let store = open(S3Options { buckets: S3Buckets::One("nowhere".into()), ..moto.options() }).await.unwrap();
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, ObjectError::Misconfigured(_)), "{error}");
}
