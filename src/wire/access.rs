//! Access to a server: a password, TLS, a relay.

use std::fmt;
use std::sync::Arc;

use redis::{Cmd, RedisConnectionInfo};

use super::command;
use super::tls::Tls;

/// What the servers of a cluster require of a client. By default: nothing, over plain TCP.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The credentials. None if the server requires none.
    pub login: Option<Login>,
    /// The encryption. None for plain TCP.
    pub tls: Option<Tls>,
    /// Whether a relay accepts connections even for a dead server, as an engine's proxy does for a published port. A
    /// connection then counts as open once PING is answered, and as refused if it is closed before.
    pub relayed: bool,
}

/// A user and a password. Debug output and errors do not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    user: Option<String>,
    password: Arc<str>,
}

impl Login {
    /// A login of an ACL user, or of the default user.
    pub fn new(user: Option<String>, password: &str) -> Self {
        Self { user, password: password.into() }
    }

    /// `AUTH [user] password`.
    pub(super) fn command(&self) -> Cmd {
        let words: Vec<&str> = ["AUTH"].into_iter().chain(self.user.as_deref()).chain([&*self.password]).collect();
        command(&words)
    }

    /// Settings of a connection with this login.
    pub(super) fn within(&self, info: RedisConnectionInfo) -> RedisConnectionInfo {
        let info = self.user.iter().fold(info, RedisConnectionInfo::set_username);
        info.set_password(&self.password)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_password() {
        let access = Access { login: Some(Login::new(Some("chaos".to_owned()), "hunter2")), tls: None, relayed: false };
        let printed = format!("{access:?}");
        assert!(printed.contains("chaos") && !printed.contains("hunter2"), "{printed}");
    }
}
