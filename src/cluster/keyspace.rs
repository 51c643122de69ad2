//! Maps the key names of a run to names on the servers.

use crate::slot::key_slot;

/// Maps the key names of the suite and the workload to names on the servers: unchanged on a cluster that the run formed,
/// under a prefix on an attached one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyspace {
    prefix: Option<String>,
}

impl Keyspace {
    /// Keys below `slotquake:RUN:`.
    pub fn of_run(run: &str) -> Self {
        Self { prefix: Some(format!("slotquake:{run}:")) }
    }

    /// The prefix of every name. None if names are unchanged.
    pub fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    /// The name on the servers. It has the hash slot of `key`: a key with a hash tag keeps it, one without becomes
    /// the tag itself.
    pub fn name(&self, key: &str) -> String {
        let Some(prefix) = &self.prefix else { return key.to_owned() };
        let tagged = format!("{prefix}{key}");
        if key_slot(tagged.as_bytes()) == key_slot(key.as_bytes()) { tagged } else { format!("{prefix}{{{key}}}") }
    }

    /// The name on the servers for any name. None for a name such as `{}x`: no name below the prefix has its slot.
    pub fn name_any(&self, key: &str) -> Option<String> {
        let name = self.name(key);
        (key_slot(name.as_bytes()) == key_slot(key.as_bytes())).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_slots_under_a_prefix() {
        let keys = Keyspace::of_run("3f");
        for (key, expected) in [
            ("testkey", Some("slotquake:3f:{testkey}")),
            ("{key-4}:probe", Some("slotquake:3f:{key-4}:probe")),
            ("a{b}c", Some("slotquake:3f:a{b}c")),
            ("a{b", Some("slotquake:3f:{a{b}")),
            ("", None),
            ("{}x", None),
        ] {
            assert_eq!(keys.name_any(key).as_deref(), expected, "{key}");
        }
        assert_eq!(Keyspace::default().name("testkey"), "testkey");
    }
}
