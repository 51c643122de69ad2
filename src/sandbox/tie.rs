//! Ties server processes to the thread that spawns them.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes the kernel kill the command's process (SIGKILL) when the *thread* that spawns it ends (Linux:
/// `PR_SET_PDEATHSIG`). Also puts the process in a new process group, so that Ctrl-C in a terminal
/// reaches only the harness. Spawn it from a thread that lives as long as the run.
pub fn tie_to_spawner(command: &mut Command) {
    command.process_group(0);
    #[cfg(target_os = "linux")]
    {
        let parent = std::process::id();
        // SAFETY: prctl, getppid and the construction of an errno are async-signal-safe and do not
        // allocate, as required between fork and exec.
        unsafe {
            command.pre_exec(move || {
                nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
                // If the parent died before the line above, the signal will never come.
                if std::os::unix::process::parent_id() != parent {
                    return Err(std::io::Error::from_raw_os_error(nix::libc::ESRCH));
                }
                Ok(())
            });
        }
    }
}
