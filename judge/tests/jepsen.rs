//! Stored histories in Jepsen's format: what is written is read again, and judged as by the zones of registers.

use std::collections::BTreeSet;
use std::path::Path;

use slotquake_judge::consistency::{Budget, linearizable};
use slotquake_judge::facts::Registers;
use slotquake_judge::history::{self, key_name};
use slotquake_judge::jepsen::{Form, Judged, KeyVerdict, entries, judge, read, write};

fn stored(name: &str) -> history::History {
    history::read(&Path::new("tests/stored").join(name)).expect("a stored history")
}

fn violated(judged: &[Judged]) -> BTreeSet<String> {
    let violated = judged.iter().filter(|judged| matches!(judged.verdict, KeyVerdict::Violated(_)));
    violated.flat_map(|judged| judged.keys.clone()).collect()
}

#[test]
fn what_is_exported_is_imported_and_judged_the_same() {
    let mut seen = 0;
    for name in ["role-swap-redis-6.2", "master-freeze-redis-6.2", "minority-partition-valkey-9.1"] {
        let history = stored(name);
        let (exported, left_out) = entries(&history);
        assert_eq!((left_out.other_kinds, left_out.foreign), (0, 0), "{name}");
        for form in [Form::Edn, Form::Json] {
            assert!(read(&write(&exported, form), form).expect("it is ours") == exported, "{name}: {form:?}");
        }
        let judged = judge(&exported, Budget::default()).expect("it is ours");
        assert!(judged.iter().all(|judged| judged.verdict != KeyVerdict::Undecided), "{name}");
        // The export has the final reads, too, so it may show more.
        let by_zones: BTreeSet<String> = Registers::new(&history)
            .iter()
            .filter(|(_, register)| linearizable(register, |_| true).violations > 0)
            .map(|(key, _)| key_name(key))
            .collect();
        assert!(by_zones.is_subset(&violated(&judged)), "{name}: {by_zones:?} {:?}", violated(&judged));
        seen += violated(&judged).len();
    }
    assert!(seen > 0, "a frozen master loses acknowledged writes");
}

/// Entries of two processes, in the words of other tools.
fn verdict(text: &str) -> Result<Vec<Judged>, String> {
    judge(&read(text, Form::Edn)?, Budget::default())
}

#[test]
fn histories_of_others_are_judged() {
    let told = |text: &str| verdict(text).map(|judged| violated(&judged).len());
    for (text, violations) in [
        // Knossos: a compare-and-set register, without keys.
        ("{:process 0 :type :invoke :f :write :value 1}{:process 0 :type :ok :f :write :value 1}
          {:process 1 :type :invoke :f :cas :value [1 2]}{:process 1 :type :ok :f :cas :value [1 2]}
          {:process 0 :type :invoke :f :read :value nil}{:process 0 :type :ok :f :read :value 2}", 0),
        ("{:process 0 :type :invoke :f :write :value 1}{:process 0 :type :ok :f :write :value 1}
          {:process 1 :type :invoke :f :cas :value [1 2]}{:process 1 :type :fail :f :cas :value [1 2]}", 1),
        // What nobody answered may take effect late, or never.
        ("{:process 0 :type :invoke :f :write :value [x 1]}{:process 0 :type :info :f :write :value [x 1]}
          {:process 1 :type :invoke :f :read :value [x nil]}{:process 1 :type :ok :f :read :value [x nil]}
          {:process :nemesis :type :info :f :start :value nil}
          {:process 1 :type :invoke :f :read :value [x nil]}{:process 1 :type :ok :f :read :value [x 1]}", 0),
        // Elle: lists, of which one reader saw another order than the next.
        ("[{:process 0 :type :invoke :f :txn :value [[:append 5 1]]} {:process 1 :type :invoke :f :txn :value [[:append 5 2]]}
           {:process 0 :type :ok :f :txn :value [[:append 5 1]]} {:process 1 :type :ok :f :txn :value [[:append 5 2]]}
           {:process 0 :type :invoke :f :txn :value [[:r 5 nil]]} {:process 0 :type :ok :f :txn :value [[:r 5 [1 2]]]}
           {:process 0 :type :invoke :f :txn :value [[:r 5 nil]]} {:process 0 :type :ok :f :txn :value [[:r 5 [2 1]]]}]", 1),
        // A transaction over two keys, half seen: its keys are one.
        ("[{:process 0 :type :invoke :f :txn :value [[:w 1 7] [:w 2 7]]} {:process 0 :type :ok :f :txn :value [[:w 1 7] [:w 2 7]]}
           {:process 0 :type :invoke :f :txn :value [[:r 1 nil] [:r 2 nil]]}
           {:process 0 :type :ok :f :txn :value [[:r 1 7] [:r 2 nil]]}]", 2),
        // A counter whose increment took effect twice.
        ("{:process 0 :type :invoke :f :add :value [c 1]}{:process 0 :type :ok :f :add :value [c 1]}
          {:process 0 :type :invoke :f :add :value [c 1]}{:process 0 :type :ok :f :add :value [c 3]}", 1),
        ("{:process 0 :type :invoke :f :add :value [c 1]}{:process 0 :type :info :f :add :value [c 1]}
          {:process 1 :type :invoke :f :add :value [c 1]}{:process 1 :type :ok :f :add :value [c 2]}", 0),
    ] {
        assert_eq!(told(text), Ok(violations), "{text}");
    }
}

#[test]
fn what_cannot_be_judged_is_named() {
    for (text, wrong) in [
        ("{:process 0 :type :done :f :read}", "entry 1: its type is `done`"),
        ("{:type :ok :f :read}", "entry 1: it has no `process`"),
        ("7", "entry 1: `7` is no map"),
        ("{:process 0 :type :ok :f :read :value 1}", "entry 1: process 0 has no operation under way"),
        (
            "{:process 0 :type :invoke :f :read :value nil}{:process 0 :type :invoke :f :read :value nil}",
            "entry 2: process 0 has an operation under way",
        ),
        (
            "{:process 0 :type :invoke :f :enqueue :value 1}{:process 0 :type :ok :f :enqueue :value 1}",
            "entry 2: the function `enqueue` is none of",
        ),
    ] {
        let error = verdict(text).expect_err(text);
        assert!(error.contains(wrong), "{error}");
    }
}
