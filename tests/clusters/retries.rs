//! Runs that come out inconclusive are repeated if asked for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::{Ended, Places, fetched, slotquake};

/// Freezes slotquake for longer than it may be late: the first time only, or each time.
fn freeze(only_once: bool) -> String {
    let unless = if only_once { "[ -e \"$0.done\" ] && exit 0; touch \"$0.done\"; " } else { "" };
    format!(
        "#!/usr/bin/env bash\n{unless}(kill -STOP $PPID; sleep 3; kill -CONT $PPID) </dev/null >/dev/null 2>&1 &\nsleep 0.2\n"
    )
}

struct Frozen {
    folder: tempfile::TempDir,
}

impl Frozen {
    fn new(only_once: bool) -> Self {
        fetched("redis:6.2");
        let frozen = Self { folder: tempfile::tempdir().expect("a temporary directory") };
        let program = frozen.file("freeze");
        fs::write(&program, freeze(only_once)).expect("it is ours");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let suite = format!(
            "name: frozen\nabout: Is late.\ncluster: {{ config: {{ cluster-node-timeout: 5000 }} }}\nworkload: {{ rate: 100/s }}\n\
             steps:\n  - phase: quiet\n  - exec: {{ run: [{}], within: 20s }}\n  - settle: 3s\ninvariants:\n  - promotions: {{ \
             exactly: 0 }}\n",
            program.display()
        );
        fs::write(frozen.file("frozen.yaml"), suite).expect("it is ours");
        frozen
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, more: &[&str]) -> Ended {
        let (suite, out) = (self.file("frozen.yaml"), self.file("reports"));
        let path = |path: PathBuf| path.to_str().expect("a plain path").to_owned();
        let args = ["run", "--format", "json", &path(suite), "--out", &path(out)].map(str::to_owned);
        slotquake(&[&args[..], &more.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>()].concat())
    }

    fn reports(&self) -> usize {
        let entries = fs::read_dir(self.file("reports")).expect("reports").filter_map(Result::ok);
        entries.filter(|entry| entry.path().join("report.json").exists() && !entry.path().is_symlink()).count()
    }
}

#[test]
fn an_inconclusive_run_is_repeated_until_it_is_conclusive() {
    let _place = Places::take(1);
    let frozen = Frozen::new(true);
    let ended = frozen.run(&["--retries", "3"]);
    assert_eq!((ended.code(), frozen.reports()), (Some(0), 2), "{}", ended.whole());
    assert_eq!(ended.json()["runs"][0]["tries"], 2, "{}", ended.whole());
    assert!(
        ended.stderr.contains("inconclusive: ") && ended.stderr.contains("repeated (retry 1 of 3)"),
        "{}",
        ended.whole()
    );
    assert!(!ended.stderr.contains("retry 2 of 3"), "{}", ended.whole());
}

#[test]
fn a_run_that_stays_inconclusive_is_repeated_as_often_as_asked() {
    let _place = Places::take(1);
    let frozen = Frozen::new(false);
    let ended = frozen.run(&[]);
    assert_eq!((ended.code(), frozen.reports()), (Some(3), 1), "{}", ended.whole());
    let ended = frozen.run(&["--retries", "1"]);
    assert_eq!((ended.code(), frozen.reports()), (Some(3), 3), "{}", ended.whole());
    assert!(ended.stderr.contains("repeated (retry 1 of 1)"), "{}", ended.whole());
}
