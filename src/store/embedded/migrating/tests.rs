//! A lived-in store under schema 1, and a step to a schema 2 that there never was: nothing is lost, whatever ends the
//! migration, and wherever.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};

use super::super::EmbeddedSettings;
use super::super::engine::{Changes, SEQUENCE};
use super::super::journal::JournalSettings;
use super::super::machine::{OutFile, ThisMachine};
use super::super::opening::{self, Opened};
use super::*;
use crate::domain::Timestamp;

/// Values grow, one tree's records become two, another's go.
fn turn((tree, key, mut value): Record) -> Result<Vec<Record>, String> {
    Ok(match tree {
        Tree::Callbacks => {
            value.push(b'!');
            vec![(tree, key, value)]
        }
        Tree::Queries => {
            let other = [key.as_slice(), b"+"].concat();
            vec![(tree, key, value.clone()), (tree, other, value)]
        }
        Tree::Users => Vec::new(),
        _ => vec![(tree, key, value)],
    })
}

const ONE: Shape = Shape {
    schema: 1,
    steps: &[],
};
const TWO: Shape = Shape {
    schema: 2,
    steps: &[Step { from: 1, turn }],
};

/// Counts its steps, and fails each from a given one on, as for a process that is gone.
#[derive(Debug, Default)]
struct Dying {
    after: usize,
    done: AtomicUsize,
    points: Mutex<Vec<Point>>,
}

impl Dying {
    fn step(&self) -> io::Result<()> {
        if self.done.fetch_add(1, Ordering::SeqCst) >= self.after {
            return Err(io::Error::other("the process is gone"));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Mortal(Arc<Dying>);

struct MortalFile(Box<dyn OutFile>, Arc<Dying>);

impl OutFile for MortalFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(gone) = self.1.step() {
            let half = bytes.get(..bytes.len() / 2).unwrap();
            self.0.write_at(half, offset)?;
            return Err(gone);
        }
        self.0.write_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.1.step()?;
        self.0.sync()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.1.step()?;
        self.0.set_len(len)
    }
}

impl Machine for Mortal {
    fn create(&self, path: &Path) -> io::Result<Box<dyn OutFile>> {
        self.0.step()?;
        let file = ThisMachine.create(path)?;
        Ok(Box::new(MortalFile(file, Arc::clone(&self.0))))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.step()?;
        ThisMachine.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.step()?;
        ThisMachine.remove(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.0.step()?;
        ThisMachine.sync_directory(path)
    }

    fn reached(&self, point: Point) -> io::Result<()> {
        self.0.points.lock().unwrap().push(point);
        self.0.step()
    }
}

/// A child has a copy of every open file, locks included, from its fork to its exec: meanwhile no store that another
/// test has just closed can be opened.
static FORKING: RwLock<()> = RwLock::new(());

fn open_on(data: &Path, shape: Shape, machine: Arc<dyn Machine>) -> Result<Opened, OpenError> {
    let _nobody_forks = FORKING.read().unwrap();
    let mut settings = EmbeddedSettings::at(data.to_owned(), 0);
    settings.cache = 4 << 20;
    let now = Timestamp::from_millis(1_760_000_000_000);
    opening::open(&settings, JournalSettings::default(), &machine, now, shape)
}

fn open(data: &Path, shape: Shape) -> Result<Opened, OpenError> {
    open_on(data, shape, Arc::new(ThisMachine))
}

/// All records, but for what an image's header says.
type Records = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

fn records(engine: &Engine) -> Records {
    let mut all = Records::new();
    for tree in Tree::ALL {
        for (key, value) in engine.part(*tree, None, usize::MAX).unwrap() {
            let is_own = *tree == Tree::Meta && [SEQUENCE, SCHEMA_KEY].contains(&key.as_ref());
            if !is_own {
                all.insert((*tree as u8, key.to_vec()), value.to_vec());
            }
        }
    }
    all
}

fn turned(old: &Records) -> Records {
    let turned = old.iter().flat_map(|((tree, key), value)| {
        let tree = Tree::of_code(*tree).unwrap();
        turn((tree, key.clone(), value.clone())).unwrap()
    });
    turned
        .map(|(tree, key, value)| ((tree as u8, key), value))
        .collect()
}

/// The store of the first release, opened once more and written to: checkpoint, journal and sled each have what the
/// others have not.
fn lived_in() -> (tempfile::TempDir, Records) {
    let place = tempfile::tempdir().unwrap();
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-schema-1.tar.gz");
    let forking = FORKING.write().unwrap();
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(fixture)
        .arg("-C")
        .arg(place.path())
        .status();
    drop(forking);
    assert!(unpacked.unwrap().success());
    let mut opened = open(&place.path().join("data"), ONE).unwrap();
    for number in 0..40_u8 {
        let put = vec![(vec![0xfe, number].into(), Some(vec![number; 100].into()))];
        let gone = vec![(vec![0xfe, number.wrapping_sub(3)].into(), None)];
        let changes: Changes = vec![(Tree::Callbacks, put), (Tree::Callbacks, gone)];
        let sequence = opened.journal.append(&changes).unwrap();
        opened.engine.apply(changes, sequence).unwrap();
    }
    let old = records(&opened.engine);
    for tree in [Tree::Callbacks, Tree::Queries, Tree::Users] {
        assert!(old.keys().any(|(code, _)| *code == tree as u8), "{tree:?}");
    }
    (place, old)
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    let forking = FORKING.write().unwrap();
    let copied = Command::new("cp")
        .arg("-R")
        .arg(from.join("data"))
        .arg(to.path())
        .status();
    drop(forking);
    assert!(copied.unwrap().success());
    to
}

fn backups(data: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = found
        .filter(|path| path.extension().is_some_and(|end| end == "backup"))
        .collect();
    found.sort();
    found
}

/// Makes a store of a backup, as `restore` of the old version does, and reads it with that.
fn restored(backup: &Path) -> Records {
    let sequence = checkpoint::read(backup, 1, &mut |_| Ok(()))
        .unwrap()
        .sequence;
    let place = tempfile::tempdir().unwrap();
    let checkpoints = place.path().join(CHECKPOINTS);
    fs::create_dir(&checkpoints).unwrap();
    fs::copy(backup, checkpoints.join(checkpoint::name(sequence))).unwrap();
    records(&open(place.path(), ONE).unwrap().engine)
}

#[test]
fn a_migrated_store_has_everything_turned_and_the_old_one_is_kept() {
    let (place, old) = lived_in();
    let data = place.path().join("data");
    let opened = open(&data, TWO).unwrap();
    assert_eq!(opened.report.migrated, Some(1));
    assert_eq!(records(&opened.engine), turned(&old));
    drop(opened);
    assert_eq!(backups(&data), [data.join("before-schema-2.backup")]);
    assert_eq!(restored(&data.join("before-schema-2.backup")), old);
    for left in [ASIDE, "sled.before-migration", "before-schema-2.backup.new"] {
        assert!(!data.join(left).exists(), "{left}");
    }
    // From now on it is an ordinary store of the new schema, which the old version leaves alone.
    let mut again = open(&data, TWO).unwrap();
    assert_eq!(again.report.migrated, None);
    assert_eq!(again.report.rebuilt, None);
    let changes: Changes = vec![(
        Tree::Callbacks,
        vec![(vec![0xff].into(), Some(vec![1].into()))],
    )];
    let sequence = again.journal.append(&changes).unwrap();
    again.engine.apply(changes, sequence).unwrap();
    let new = records(&again.engine);
    drop(again);
    assert_eq!(records(&open(&data, TWO).unwrap().engine), new);
    let refused = open(&data, ONE).err().unwrap();
    assert!(
        matches!(
            refused,
            OpenError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn a_migration_that_ends_anywhere_leaves_one_of_the_two_stores_whole() {
    let (place, old) = lived_in();
    let new = turned(&old);
    let (mut is_new, mut points) = (false, Vec::new());
    for after in 0.. {
        let place = copy(place.path());
        let data = place.path().join("data");
        let dying = Arc::new(Dying {
            after,
            ..Dying::default()
        });
        let ended = open_on(&data, TWO, Arc::new(Mortal(Arc::clone(&dying))));
        points.extend(dying.points.lock().unwrap().last().copied());
        let is_done = ended.is_ok();
        drop(ended);
        let copied = copy(place.path());
        match open(&copied.path().join("data"), ONE) {
            Ok(opened) => {
                assert!(!is_new, "step {after}: the old store is back");
                assert_eq!(records(&opened.engine), old, "step {after}");
            }
            Err(OpenError::Newer { .. }) => is_new = true,
            Err(other) => panic!("step {after}: {other}"),
        }
        let opened = open(&data, TWO).unwrap_or_else(|error| panic!("step {after}: {error}"));
        assert_eq!(records(&opened.engine), new, "step {after}");
        drop(opened);
        let kept = backups(&data);
        assert_eq!(kept.len(), 1, "step {after}: {kept:?}");
        if is_done {
            assert_eq!(restored(kept.first().unwrap()), old);
            break;
        }
    }
    assert!(is_new);
    for point in [
        Point::MigrationBackedUp,
        Point::MigrationWritten,
        Point::MigrationNamed,
        Point::MigrationClearing,
    ] {
        assert!(points.contains(&point), "{point:?} was not reached");
    }
}

#[test]
fn a_backup_that_is_there_is_never_overwritten() {
    let (place, old) = lived_in();
    let data = place.path().join("data");
    fs::write(data.join("before-schema-2.backup"), "of another time").unwrap();
    drop(open(&data, TWO).unwrap());
    let kept = fs::read(data.join("before-schema-2.backup")).unwrap();
    assert_eq!(kept, b"of another time");
    assert_eq!(restored(&data.join("before-schema-2-2.backup")), old);
}

#[test]
fn a_store_from_which_no_step_leads_here_is_left_alone() {
    let (place, old) = lived_in();
    let data = place.path().join("data");
    let shape = Shape { schema: 3, ..TWO };
    let refused = open(&data, shape).err().unwrap();
    assert!(
        matches!(
            refused,
            OpenError::Older {
                found: 1,
                known: 3,
                ..
            }
        ),
        "{refused}"
    );
    assert!(backups(&data).is_empty());
    assert_eq!(records(&open(&data, ONE).unwrap().engine), old);
}

#[test]
fn a_record_that_cannot_be_turned_leaves_the_old_store() {
    let (place, old) = lived_in();
    let data = place.path().join("data");
    let shape = Shape {
        schema: 2,
        steps: &[Step {
            from: 1,
            turn: |_| Err("it is odd".to_owned()),
        }],
    };
    let refused = open(&data, shape).err().unwrap();
    assert!(refused.to_string().contains("it is odd"), "{refused}");
    assert_eq!(records(&open(&data, ONE).unwrap().engine), old);
}

#[test]
fn a_store_whose_sled_has_more_than_its_journal_is_left_alone() {
    let (place, old) = lived_in();
    let data = place.path().join("data");
    // Drained, as before a close.
    let opened = open(&data, ONE).unwrap();
    opened.engine.sync().unwrap();
    drop(opened);
    for segment in reading::segments(&data.join(JOURNAL)).unwrap() {
        fs::remove_file(segment.path).unwrap();
    }
    let refused = open(&data, TWO).err().unwrap();
    assert!(refused.to_string().contains("lacks groups"), "{refused}");
    let mended = open(&data, ONE).unwrap();
    assert_eq!(records(&mended.engine), old);
    drop(mended);
    assert_eq!(records(&open(&data, TWO).unwrap().engine), turned(&old));
}

#[test]
fn a_store_whose_only_checkpoint_is_at_its_end_is_migrated_like_any() {
    let (place, old) = lived_in();
    let data = place.path().join("data");
    let opened = open(&data, ONE).unwrap();
    let never = std::sync::atomic::AtomicBool::new(false);
    let taken = images::take(&opened.engine, &ThisMachine, &never).unwrap();
    assert_eq!(taken.sequence, opened.engine.sequence());
    drop(opened);
    fs::remove_file(data.join(CHECKPOINTS).join(checkpoint::name(0))).unwrap();
    let opened = open(&data, TWO).unwrap();
    assert_eq!(records(&opened.engine), turned(&old));
    let rebuilt = opened.report.rebuilt;
    assert_eq!(rebuilt, Some(super::super::outcome::Rebuilt::Migrated));
    drop(opened);
    assert!(reading::segments(&data.join(JOURNAL)).unwrap().is_empty());
    assert_eq!(open(&data, TWO).unwrap().report.rebuilt, None);
}
