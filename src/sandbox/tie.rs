//! Ties server processes to the thread that spawns them.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes a command's process die by SIGKILL when the *thread* that spawns it ends (Linux:
/// `PR_SET_PDEATHSIG`), and gives it a process group of its own so that a terminal's Ctrl-C reaches
/// the harness alone. Spawn from a thread that lives as long as the run.
pub fn tie_to_spawner(command: &mut Command) {
    command.process_group(0);
    #[cfg(target_os = "linux")]
    {
        let parent = std::process::id();
        // SAFETY: prctl, getppid and the construction of an errno are async-signal-safe and
        // allocate nothing, as is demanded between fork and exec.
        unsafe {
            command.pre_exec(move || {
                nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
                // The parent may have died before the line above; then nobody would send the signal.
                if std::os::unix::process::parent_id() != parent {
                    return Err(std::io::Error::from_raw_os_error(nix::libc::ESRCH));
                }
                Ok(())
            });
        }
    }
}
