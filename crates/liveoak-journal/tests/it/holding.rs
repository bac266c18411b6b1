//! Who may use a folder: one process at a time, its owner only, and no links.

use crate::support::{DURABLE, TempDir, all, append, event, files, ids, open};
use liveoak_journal::{
    Folder, Journal, JournalReader, LogLimits, LogNotice, OpenError, ReadError, RecordFilter,
};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

#[test]
fn a_folder_is_private_and_so_is_everything_in_it() {
    let dir = TempDir::new();
    append(&open(&dir.tree()), [1]);
    let mode = |path: &std::path::Path| std::fs::symlink_metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&dir.tree()), 0o700);
    assert_eq!(mode(dir.tree().parent().unwrap()), 0o700);
    for entry in std::fs::read_dir(dir.tree()).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    // A folder that was made by hand becomes private.
    std::fs::set_permissions(dir.tree(), std::fs::Permissions::from_mode(0o755)).unwrap();
    open(&dir.tree());
    assert_eq!(mode(&dir.tree()), 0o700);
}

#[test]
fn a_folder_in_use_is_refused_with_the_process_that_holds_it_and_not_called_damaged() {
    let dir = TempDir::new();
    let held = open(&dir.tree());
    let error = Folder::open(dir.tree()).unwrap_err();
    let OpenError::Locked { pid, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*pid, Some(std::process::id()));
    assert!(error.to_string().contains("not damaged"), "{error}");
    append(&held, [1]);
    // Readers need no lock.
    assert_eq!(ids(all(&dir.tree())), [(1, 1)]);
    drop(held);
    assert_eq!(open(&dir.tree()).run(), 2);
}

#[test]
fn a_folder_stays_in_use_while_a_log_in_it_is_open() {
    let dir = TempDir::new();
    let folder = Folder::open(dir.tree()).unwrap();
    let journal = Journal::open(&folder, LogLimits::default()).unwrap();
    drop(folder);
    assert!(matches!(Folder::open(dir.tree()), Err(OpenError::Locked { .. })));
    append(&journal, [1]);
    let reader = journal.reader();
    drop(journal);
    // A reader holds nothing.
    Folder::open(dir.tree()).unwrap();
    assert_eq!(ids(reader.entries(RecordFilter::new()).unwrap()), [(1, 1)]);
}

#[test]
fn a_link_or_a_file_in_place_of_the_folder_is_refused() {
    let dir = TempDir::new();
    let target = dir.0.join("target");
    std::fs::create_dir(&target).unwrap();
    let link = dir.0.join("link");
    symlink(&target, &link).unwrap();
    let file = dir.0.join("file");
    std::fs::write(&file, "x").unwrap();
    for path in [&link, &file] {
        for path in [path.clone(), path.join("")] {
            let error = Folder::open(&path).unwrap_err();
            assert!(matches!(error, OpenError::NotAFolder { .. }), "{error}");
            assert!(matches!(JournalReader::open(&path), Err(ReadError::NotAFolder { .. })));
        }
    }
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0);
    // A link above the folder is a decision of the user.
    Folder::open(link.join("shop")).unwrap();
}

#[test]
fn what_stands_in_the_place_of_the_lock_is_set_aside() {
    let dir = TempDir::new();
    std::fs::create_dir_all(dir.tree().join("lock")).unwrap();
    append(&open(&dir.tree()), [1]);
    std::fs::remove_file(dir.tree().join("lock")).unwrap();
    let elsewhere = dir.0.join("elsewhere");
    std::fs::write(&elsewhere, "mine").unwrap();
    symlink(&elsewhere, dir.tree().join("lock")).unwrap();
    append(&open(&dir.tree()), [1]);
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "mine");
    assert!(dir.tree().join("lock.set-aside-1").is_dir());
    assert!(dir.tree().join("lock.set-aside-2").is_symlink());
}

#[test]
fn folders_links_and_pipes_with_names_of_files_are_left_alone_and_named() {
    let dir = TempDir::new();
    append(&open(&dir.tree()), [1]);
    let outside = dir.0.join("outside");
    std::fs::write(&outside, "mine").unwrap();
    let name = |number: u32| dir.tree().join(format!("journal-v1-000000000{number}-00000000.log"));
    std::fs::create_dir(name(2)).unwrap();
    symlink(&outside, name(3)).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(name(4)).status().unwrap();
    assert!(pipe.success());
    std::fs::hard_link(&outside, name(5)).unwrap();
    let journal = open(&dir.tree());
    let skipped =
        journal.take_notices().into_iter().filter(|notice| matches!(notice, LogNotice::Skipped { .. }));
    assert_eq!(skipped.count(), 4);
    append(&journal, [2, 3]);
    assert_eq!(ids(all(&dir.tree())), [(1, 1), (2, 2), (2, 3)]);
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "mine");
}

#[test]
fn a_file_of_a_later_format_is_left_alone_and_named() {
    let dir = TempDir::new();
    append(&open(&dir.tree()), [1]);
    let later = dir.tree().join("journal-v2-0000000007-whatever.log");
    std::fs::write(&later, "of a later version").unwrap();
    let journal = open(&dir.tree());
    let notices = journal.take_notices();
    assert!(notices.iter().any(|notice| notice.to_string().contains("format 2, expected 1")), "{notices:?}");
    append(&journal, [2]);
    assert_eq!(ids(all(&dir.tree())), [(1, 1), (2, 2)]);
    assert_eq!(std::fs::read_to_string(&later).unwrap(), "of a later version");
}

#[test]
fn a_folder_that_is_removed_while_a_tree_runs_is_made_again() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    append(&journal, [1]);
    std::fs::remove_dir_all(dir.0.join("trees")).unwrap();
    // The check for removed files is not made at every write.
    let mut n = 1;
    while !dir.tree().exists() {
        n += 1;
        journal.append(&[event(n)], DURABLE).unwrap();
    }
    append(&journal, [n + 1]);
    assert_eq!(ids(all(&dir.tree())).last(), Some(&(1, n + 1)));
    assert!(journal.take_notices().contains(&LogNotice::MadeAgain));
    assert!(matches!(Folder::open(dir.tree()), Err(OpenError::Locked { .. })));
    drop(journal);
    assert_eq!(open(&dir.tree()).run(), 2);
}

#[test]
fn files_that_are_removed_while_a_tree_runs_are_made_again() {
    let dir = TempDir::new();
    let journal = open(&dir.tree());
    append(&journal, [1]);
    for (path, _) in files(&dir.tree(), "journal") {
        std::fs::remove_file(path).unwrap();
    }
    let mut n = 1;
    while files(&dir.tree(), "journal").is_empty() {
        n += 1;
        journal.append(&[event(n)], DURABLE).unwrap();
    }
    assert_eq!(ids(all(&dir.tree())).last(), Some(&(1, n)));
}
