//! What is particular to the disk store.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use lettercase::outside::objects::{self, FilesOptions, ObjectKey, Objects, ObjectsOptions, Tag};
use tempfile::TempDir;

use super::suite::{self, Server};
use super::world::{Sample, brand, content, incoming};

async fn open(root: &Path) -> Arc<dyn Objects> {
    objects::open(&ObjectsOptions::Files(FilesOptions { root: root.to_owned() })).await.unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn the_disk_store_does_what_every_store_does() {
    let dir = TempDir::new().unwrap();
    suite::all(open(&dir.path().join("objects")).await, Server { verifies: true, copies_whole: true }).await;
}

#[tokio::test]
async fn what_a_dead_process_left_is_swept_and_what_a_living_one_writes_is_not() {
    let dir = TempDir::new().unwrap();
    let partial = dir.path().join("partial");
    // As a process leaves it that is killed between writing and renaming, and one killed still earlier.
    for dead in ["dead", "deader"] {
        fs::create_dir_all(partial.join(dead)).unwrap();
        fs::write(partial.join(dead).join("0"), b"half an obj").unwrap();
    }
    fs::write(partial.join("dead/lock"), b"").unwrap();

    let living = open(dir.path()).await;
    assert!(!partial.join("dead").exists() && !partial.join("deader").exists());
    assert_eq!(living.list(objects::Place::Incoming, None, 10).await.unwrap(), [], "nothing half-written is visible");

    let second = open(dir.path()).await;
    let of_processes = fs::read_dir(&partial).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(of_processes, 2);
    for store in [&living, &second] {
        Sample::of(10).put(store.as_ref(), &incoming()).await;
    }
    drop((living, second));
    let left = fs::read_dir(&partial).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_put_links_the_file_and_only_its_owner_reads_it() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir.path().join("objects")).await;
    let sample = Sample::of(100);
    let upload = dir.path().join("upload");
    fs::copy(&sample.path, &upload).unwrap();
    let key = incoming();
    store.put_file(&key, &upload, sample.size(), &sample.sha256).await.unwrap();
    let stored = dir.path().join("objects").join(key.to_string());
    assert_eq!(fs::metadata(&stored).unwrap().ino(), fs::metadata(&upload).unwrap().ino());
    assert_eq!(mode(&stored), 0o400);
    assert_eq!(mode(stored.parent().unwrap()), 0o700);
    fs::remove_file(&upload).unwrap();
    assert_eq!(store.get_bytes(&key, 100).await.unwrap().unwrap(), sample.bytes);
}

#[tokio::test]
async fn what_a_symbolic_link_points_at_is_copied() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir.path().join("objects")).await;
    let (sample, key) = (Sample::of(100), incoming());
    let link = dir.path().join("link");
    symlink(&sample.path, &link).unwrap();
    store.put_file(&key, &link, sample.size(), &sample.sha256).await.unwrap();
    let stored = dir.path().join("objects").join(key.to_string());
    assert!(fs::symlink_metadata(&stored).unwrap().is_file());
    assert_ne!(fs::metadata(&stored).unwrap().ino(), fs::metadata(&sample.path).unwrap().ino());
}

#[tokio::test]
async fn a_quarantined_file_is_barred_and_a_clean_upload_of_the_same_bytes_is_not() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let (sample, from) = (Sample::of(100), incoming());
    let (clean, barred) = (content(&sample), ObjectKey::quarantine(&brand(), &sample.sha256));
    sample.put(store.as_ref(), &from).await;
    store.copy(&from, None, &clean, &sample.sha256, 100, Tag::Clean).await.unwrap();
    store.copy(&clean, None, &barred, &sample.sha256, 100, Tag::Quarantined).await.unwrap();
    let path = |key: &ObjectKey| dir.path().join(key.to_string());
    assert_eq!(mode(&path(&barred)), 0o000);
    assert_eq!(mode(&path(&clean)), 0o000, "it is barred under its old name at once");
    // The operator's way: through the door.
    store.fetch(&barred, None, &dir.path().join("evidence"), Some(&sample.sha256)).await.unwrap();
    assert_eq!(mode(&path(&barred)), 0o000);
    // A false alarm, the same bytes sent again, judged clean by newer signatures.
    let (again, from) = (Sample::with(sample.bytes.clone()), incoming());
    again.put(store.as_ref(), &from).await;
    store.copy(&from, None, &clean, &sample.sha256, 100, Tag::Clean).await.unwrap();
    assert_eq!((mode(&path(&clean)), mode(&path(&barred))), (0o400, 0o000));
}

#[tokio::test]
async fn rotten_content_is_replaced_when_its_bytes_come_again() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let (sample, from) = (Sample::of(100), incoming());
    sample.put(store.as_ref(), &from).await;
    let path = dir.path().join(content(&sample).to_string());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, vec![0; 100]).unwrap();
    store.copy(&from, None, &content(&sample), &sample.sha256, 100, Tag::Clean).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), sample.bytes);
}
