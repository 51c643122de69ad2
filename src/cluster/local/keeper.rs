//! Starts servers that end with the harness.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use crate::sandbox::tie_to_spawner;

type Job = (Command, tokio::sync::oneshot::Sender<io::Result<Child>>);

/// Spawns a process that ends when the harness ends for any reason.
///
/// `PR_SET_PDEATHSIG` takes effect when the thread that forked ends (prctl(2)), so one thread, which lives as long as the
/// harness's process, forks all servers.
pub async fn spawn(mut command: Command) -> io::Result<Child> {
    static KEEPER: OnceLock<Sender<Job>> = OnceLock::new();
    tie_to_spawner(&mut command);
    let keeper = KEEPER.get_or_init(|| {
        let (jobs, received) = channel::<Job>();
        std::thread::Builder::new()
            .name("slotquake-keeper".to_owned())
            .spawn(move || {
                for (mut command, reply) in received {
                    // Without a receiver, the run was dropped, so its child must end.
                    if let Err(Ok(mut orphan)) = reply.send(command.spawn()) {
                        let _ = orphan.kill();
                        let _ = orphan.wait();
                    }
                }
            })
            .expect("the system can start a thread");
        jobs
    });
    let (reply, answer) = tokio::sync::oneshot::channel();
    keeper.send((command, reply)).map_err(|_| io::Error::other("the keeper thread is gone"))?;
    answer.await.map_err(|_| io::Error::other("the keeper thread is gone"))?
}
