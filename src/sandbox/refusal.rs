//! Why a system refuses the sandbox: derives a reason and a hint from the failed step, the errno and a
//! few system settings.

#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

use super::SandboxError;

/// The step of the setup that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Step {
    /// Creating the namespaces.
    Namespaces,
    /// Mapping user and group ids.
    Ids,
    /// Making mounts private.
    Mounts,
    /// Mounting a /proc for the new PID namespace.
    Proc,
    /// Mounting the scratch directory.
    Scratch,
    /// Bringing `lo` up.
    Loopback,
    /// Starting processes, pipes, signals and capabilities.
    Process,
}

impl Step {
    /// Every step. Its position is the number that is sent between processes.
    pub(super) const ALL: [Self; 7] =
        [Self::Namespaces, Self::Ids, Self::Mounts, Self::Proc, Self::Scratch, Self::Loopback, Self::Process];

    fn doing(self) -> &'static str {
        match self {
            Self::Namespaces => "creating namespaces",
            Self::Ids => "mapping user and group ids",
            Self::Mounts => "making mounts private",
            Self::Proc => "mounting /proc",
            Self::Scratch => "mounting a scratch directory",
            Self::Loopback => "bringing up the loopback interface",
            Self::Process => "starting processes",
        }
    }
}

/// The settings that affect the sandbox, as far as they can be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Whether the user is root.
    pub(super) root: bool,
    /// Limits of /proc/sys/user by name, such as `max_user_namespaces`.
    pub(super) limits: Vec<(&'static str, u64)>,
    /// `kernel.unprivileged_userns_clone` (Debian and others).
    pub(super) unprivileged_userns_clone: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns` (Ubuntu).
    pub(super) apparmor_restrict: Option<u64>,
    /// Whether a seccomp filter is installed.
    pub(super) seccomp_filter: bool,
    /// Whether this seems to be a container.
    pub(super) container: bool,
}

/// Explains the most likely cause.
pub(super) fn explain(step: Step, errno: i32, facts: &Facts) -> SandboxError {
    let (reason, hint) = cause(step, errno, facts);
    SandboxError::Refused { reason, hint }
}

fn cause(step: Step, errno: i32, facts: &Facts) -> (String, String) {
    const EPERM: i32 = 1;
    const EACCES: i32 = 13;
    const EINVAL: i32 = 22;
    const ENOSPC: i32 = 28;
    const ENOSYS: i32 = 38;
    const EUSERS: i32 = 87;

    let doing = step.doing();
    let what = std::io::Error::from_raw_os_error(errno);
    if errno == ENOSPC || errno == EUSERS {
        if let Some((limit, _)) = facts.limits.iter().find(|(_, most)| *most == 0) {
            return (
                format!("user.{limit} is 0, which forbids these namespaces"),
                format!("allow them with `sudo sysctl -w user.{limit}=10000`"),
            );
        }
        return (
            format!("too many namespaces, or too many nested ones ({what} while {doing})"),
            "raise user.max_user_namespaces and the other user.max_*_namespaces, or run outside of the other sandbox"
                .to_owned(),
        );
    }
    if errno == ENOSYS || (errno == EINVAL && step == Step::Namespaces) {
        return (
            format!("this kernel has no user, network or PID namespaces ({what} while {doing})"),
            "use a Linux kernel with USER_NS, NET_NS and PID_NS".to_owned(),
        );
    }
    if errno != EPERM && errno != EACCES {
        return (
            format!("{what} while {doing}"),
            "run `slotquake doctor` to see what this machine supports".to_owned(),
        );
    }
    if !facts.root && facts.unprivileged_userns_clone == Some(0) {
        return (
            "kernel.unprivileged_userns_clone is 0, which forbids user namespaces for ordinary users".to_owned(),
            "allow them with `sudo sysctl -w kernel.unprivileged_userns_clone=1`, or run as root".to_owned(),
        );
    }
    if !facts.root && facts.apparmor_restrict.is_some_and(|value| value != 0) {
        return (
            "AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)".to_owned(),
            "allow them with `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, give the binary an \
             AppArmor profile with `userns,`, or run as root"
                .to_owned(),
        );
    }
    if step == Step::Proc {
        return (
            format!("parts of /proc are masked, as in a container ({what} while {doing})"),
            "start the container with `--security-opt systempaths=unconfined`, or run outside of it".to_owned(),
        );
    }
    if facts.seccomp_filter || facts.container {
        let by = if facts.seccomp_filter { "a seccomp filter" } else { "a container" };
        return (
            format!("{by} seems to forbid namespaces ({what} while {doing})"),
            "start the container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined \
             --security-opt systempaths=unconfined`, or run outside of it"
                .to_owned(),
        );
    }
    (
        format!("the system forbids namespaces ({what} while {doing})"),
        "check for a security module or a chroot that forbids user namespaces, or run as root".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::{Facts, Step, explain};

    #[test]
    fn explains_each_cause_with_a_hint() {
        let limits = |most| vec![("max_user_namespaces", most), ("max_net_namespaces", 10)];
        let facts = |edit: fn(&mut Facts)| {
            let mut facts = Facts { limits: limits(10), ..Facts::default() };
            edit(&mut facts);
            facts
        };
        let ubuntu = facts(|facts| facts.apparmor_restrict = Some(1));
        let debian = facts(|facts| facts.unprivileged_userns_clone = Some(0));
        let open = facts(|facts| {
            facts.unprivileged_userns_clone = Some(1);
            facts.apparmor_restrict = Some(0);
        });
        let docker = facts(|facts| {
            facts.seccomp_filter = true;
            facts.root = true;
        });
        let none = Facts { limits: limits(0), ..Facts::default() };
        let ubuntu_root = facts(|facts| {
            facts.apparmor_restrict = Some(1);
            facts.root = true;
        });
        for (step, errno, facts, expected) in [
            (Step::Namespaces, 28, &none, "sysctl -w user.max_user_namespaces="),
            (Step::Namespaces, 28, &open, "too many nested"),
            (Step::Namespaces, 1, &debian, "sysctl -w kernel.unprivileged_userns_clone=1"),
            (Step::Namespaces, 1, &ubuntu, "apparmor_restrict_unprivileged_userns=0"),
            (Step::Mounts, 13, &ubuntu, "apparmor_restrict_unprivileged_userns=0"),
            (Step::Namespaces, 1, &ubuntu_root, "the system forbids namespaces"),
            (Step::Namespaces, 1, &open, "the system forbids namespaces"),
            (Step::Namespaces, 1, &docker, "seccomp=unconfined"),
            (Step::Proc, 1, &docker, "parts of /proc are masked"),
            (Step::Namespaces, 38, &open, "this kernel has no user, network or PID namespaces"),
            (Step::Namespaces, 22, &open, "this kernel has no user, network or PID namespaces"),
            (Step::Loopback, 12, &open, "while bringing up the loopback interface"),
        ] {
            let text = explain(step, errno, facts).to_string();
            assert!(text.contains(expected), "{step:?} {errno}: `{text}` lacks `{expected}`");
            assert!(text.contains("(hint: "), "{text}");
        }
    }

    #[test]
    fn steps_are_numbered_by_position() {
        for (number, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, number);
        }
    }
}
