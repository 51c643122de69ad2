//! The library of [`crate::speed`] in containers: as files of this machine that are mounted into them. They are removed with
//! the run, and also when the harness is killed.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use testcontainers::bollard::models::{ContainerCreateBody, HostConfig};

use super::engine::Engine;
use super::owner::Owner;
use crate::cluster::new_run;
use crate::cluster::scratch::ScratchDir;
use crate::fault::ClockOf;
use crate::server::Server;
use crate::speed::clock::{self, HostClock};
use crate::speed::{self, PRELOAD};

/// Where they are in a container.
const LIBRARY: &str = "/slotquake/library.so";
const CLOCKS: &str = "/slotquake/clocks";

/// The library, and the clocks of some hosts.
#[derive(Debug)]
pub(in crate::cluster) struct Mounted {
    scratch: ScratchDir,
    /// None if servers have no clocks of their own.
    hosts: Option<Vec<Mutex<HostClock>>>,
}

impl Mounted {
    /// Writes the files, with clocks for that many hosts.
    pub(in crate::cluster) fn create(hosts: Option<usize>) -> io::Result<Self> {
        let scratch = ScratchDir::create()?;
        speed::store(&scratch.path().join("library.so"))?;
        let clock = |index| {
            let path = clocks(scratch.path(), index);
            let clock = HostClock::create(&path)?;
            // The servers of a container have a user of their own, and write into it what they were told.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
            Ok(Mutex::new(clock))
        };
        let hosts = hosts.map(|count| (0..count).map(clock).collect::<io::Result<_>>()).transpose()?;
        Ok(Self { scratch, hosts })
    }

    /// What the engine mounts into the container of a host, in its format. With `SELinux`, containers may then read it.
    pub(in crate::cluster) fn binds(&self, host: usize) -> Vec<String> {
        let mut binds = vec![format!("{}:{LIBRARY}:ro,z", self.scratch.path().join("library.so").display())];
        if self.hosts.is_some() {
            binds.push(format!("{}:{CLOCKS}:rw,z", clocks(self.scratch.path(), host).display()));
        }
        binds
    }

    /// The variables of the container's programs.
    pub(in crate::cluster) fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![(PRELOAD, LIBRARY.to_owned())];
        if self.hosts.is_some() {
            variables.push((clock::VARIABLE, CLOCKS.to_owned()));
        }
        // Containers share the kernel and its clocks with this process, so what it has got is right for them, too.
        variables.extend(speed::value().map(|value| (speed::VARIABLE, value)));
        variables
    }

    /// The clocks of a host; None if servers have none of their own.
    pub(in crate::cluster) fn clock(&self, host: usize) -> Option<MutexGuard<'_, HostClock>> {
        Some(self.hosts.as_ref()?.get(host)?.lock().expect("no holder panics"))
    }
}

fn clocks(scratch: &Path, host: usize) -> std::path::PathBuf {
    scratch.join(format!("clocks-{}", host + 1))
}

impl Engine {
    /// Why the library cannot be loaded into a server of this engine; None if it can. The server's program is started with
    /// it, to see that it asks it for the time.
    pub async fn library_obstacle(&self, server: &Server) -> Option<String> {
        if let Some(why) = speed::obstacle() {
            return Some(why);
        }
        if !self.shares_kernel {
            return Some(
                "the time of this engine's containers is not that of this machine, as it does not run on its kernel (hint: \
                 use `--backend local`)"
                    .to_owned(),
            );
        }
        let image = match self.image_of(&server.asked) {
            Ok(image) => image,
            Err(error) => return Some(error.to_string()),
        };
        match self.load_library(server, &image).await {
            Ok(None) => None,
            Ok(Some(said)) => Some(format!(
                "the library that changes time cannot be loaded into the server of image `{image}`: {said} (hint: it needs \
                 glibc, not older than that of the system on which slotquake was built: the official images without \
                 `alpine` have it)"
            )),
            Err(error) => {
                Some(format!("whether the library that changes time can be loaded into image `{image}`: {error}"))
            }
        }
    }

    /// What the server of an image said instead of loading the library; None if it has loaded it.
    async fn load_library(&self, server: &Server, image: &str) -> Result<Option<String>, String> {
        let mounted = Mounted::create(Some(1)).map_err(|error| error.to_string())?;
        let run = new_run();
        let name = format!("slotquake-{run}-library");
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec![server.path.display().to_string()]),
            cmd: Some(vec!["--version".to_owned()]),
            env: Some(mounted.variables().iter().map(|(name, value)| format!("{name}={value}")).collect()),
            labels: Some(Owner::this_process().labels(&run)),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                binds: Some(mounted.binds(0)),
                ..Default::default()
            }),
            ..Default::default()
        };
        let printed = self.printed_by(&name, body).await.map_err(|error| error.to_string())?;
        let told = mounted.clock(0).expect("it has one").told(ClockOf::Wall).map_err(|error| error.to_string())?;
        if told.count > 0 {
            return Ok(None);
        }
        // The linker says first what it could not load.
        let said = printed.lines().find(|line| line.contains("library.so")).map(str::trim);
        Ok(Some(said.unwrap_or("it does not load libraries (is it linked statically?)").to_owned()))
    }
}
