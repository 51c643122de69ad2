//! What containers see of this machine: the library of [`crate::speed`], the clocks of their hosts, and the directories of
//! their nodes where slotquake must see the files. All are removed with the run, and also when the harness is killed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use testcontainers::bollard::models::{ContainerCreateBody, HostConfig};

use super::engine::Engine;
use super::owner::Owner;
use crate::cluster::folders::Folders;
use crate::cluster::new_run;
use crate::cluster::scratch::ScratchDir;
use crate::fault::ClockOf;
use crate::plan::Need;
use crate::server::Server;
use crate::speed::clock::{self, HostClock};
use crate::speed::disk::{Counts, LIBRARY_OF_DISKS};
use crate::speed::durable::LIBRARY_OF_LOGS;
use crate::speed::{self, PRELOAD, not_loaded};
use crate::units::NodeNo;

/// Where they are in a container.
const LIBRARY: &str = "/slotquake/library.so";
const CLOCKS: &str = "/slotquake/clocks";

/// The name of the directory of a node's data in the one that is mounted, which the log of its disk is in, too.
const DATA: &str = "data";

/// The files of this machine that are mounted into the containers of a cluster.
#[derive(Debug)]
pub(in crate::cluster) struct Mounted {
    scratch: PathBuf,
    /// Removes them.
    _scratch: ScratchDir,
    has_library: bool,
    /// None if servers have no clocks of their own.
    clocks: Option<Vec<Mutex<HostClock>>>,
    /// None if servers have their files in volumes.
    folders: Option<Folders>,
    /// What was known of the disk of each node when its server was started last.
    starts: Vec<Mutex<Start>>,
}

/// The calls on the files of a disk, and the length of its log.
#[derive(Debug, Default)]
struct Start {
    counts: Counts,
    logged: u64,
}

impl Mounted {
    /// What so many hosts need for a plan with these needs at the speed of this process; None if that is nothing.
    pub(in crate::cluster) fn create(hosts: usize, needs: &BTreeSet<Need>) -> io::Result<Option<Self>> {
        let has_folders = [Need::Damage, Need::Disks, Need::PowerLoss].iter().any(|need| needs.contains(need));
        let has_clocks = needs.contains(&Need::Clocks);
        if !has_folders && !has_clocks && speed::current().is_real() {
            return Ok(None);
        }
        let own = ScratchDir::create()?;
        let scratch = fs::canonicalize(own.path())?;
        let clock = |index| {
            let path = clocks(&scratch, index);
            let clock = HostClock::create(&path)?;
            // The servers of a container may have a user of their own, and write into it what they were told.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
            Ok(Mutex::new(clock))
        };
        let clocks = has_clocks.then(|| (0..hosts).map(clock).collect::<io::Result<_>>()).transpose()?;
        let dir = |index| {
            let dir = host(&scratch, index).join(DATA);
            fs::create_dir_all(&dir).map(|()| dir)
        };
        let dirs = || (0..hosts).map(dir).collect::<io::Result<_>>();
        let folders = has_folders.then(|| Folders::create(dirs()?, needs)).transpose()?;
        let needs_library = has_clocks || folders.as_ref().is_some_and(Folders::needs_library);
        let has_library = needs_library || !speed::current().is_real();
        if has_library {
            speed::store(&scratch.join("library.so"))?;
        }
        let starts = (0..hosts).map(|_| Mutex::default()).collect();
        Ok(Some(Self { scratch, _scratch: own, has_library, clocks, folders, starts }))
    }

    /// What the engine mounts into the container of a node, in its format. With `SELinux`, containers may then use it.
    pub(in crate::cluster) fn binds(&self, node: NodeNo) -> Vec<String> {
        let mut binds = Vec::new();
        if self.has_library {
            binds.push(format!("{}:{LIBRARY}:ro,z", self.scratch.join("library.so").display()));
        }
        if self.clocks.is_some() {
            binds.push(format!("{}:{CLOCKS}:rw,z", clocks(&self.scratch, node.index()).display()));
        }
        if self.folders.is_some() {
            // At the same path as here, so that what a server says of its files is true here, too.
            let host = host(&self.scratch, node.index());
            binds.push(format!("{0}:{0}:rw,z", host.display()));
        }
        binds
    }

    /// The variables of the programs in the container of a node.
    pub(in crate::cluster) fn variables(&self, node: NodeNo) -> Vec<(&'static str, String)> {
        let mut variables = Vec::new();
        if self.has_library {
            variables.push((PRELOAD, LIBRARY.to_owned()));
        }
        if self.clocks.is_some() {
            variables.push((clock::VARIABLE, CLOCKS.to_owned()));
        }
        // Containers share the kernel and its clocks with this process, so what it has got is right for them, too.
        variables.extend(speed::value().map(|value| (speed::VARIABLE, value)));
        variables.extend(self.folders.iter().flat_map(|folders| folders.variables(node)));
        variables
    }

    /// The clocks of a node's host; None if servers have none of their own.
    pub(in crate::cluster) fn clock(&self, node: NodeNo) -> Option<MutexGuard<'_, HostClock>> {
        Some(self.clocks.as_ref()?.get(node.index())?.lock().expect("no holder panics"))
    }

    /// The directories of the nodes' data; None if it is in volumes.
    pub(in crate::cluster) fn folders(&self) -> Option<&Folders> {
        self.folders.as_ref()
    }

    /// Takes note of what is known of the disk of a node whose server is about to start.
    pub(in crate::cluster) fn starts(&self, node: NodeNo) -> io::Result<()> {
        let Some(folders) = &self.folders else { return Ok(()) };
        let mut start = self.starts[node.index()].lock().expect("no holder panics");
        if let Some(mut disk) = folders.disk(node) {
            disk.is_left()?;
            start.counts = disk.counts()?;
        }
        if let Some(log) = folders.log(node) {
            start.logged = log.length()?;
        }
        Ok(())
    }

    /// Why the server of a node does not use its disk; None if it does, or has none of its own. The memory of a container's
    /// process may be hidden from this user. But a server that has started has opened `nodes.conf`, and nothing else in its
    /// container does.
    pub(in crate::cluster) fn disk_obstacle(&self, node: NodeNo) -> Option<String> {
        let counts = self.folders.as_ref()?.disk(node)?.counts();
        let start = self.starts[node.index()].lock().expect("no holder panics");
        match counts {
            Ok(counts) => (counts == start.counts).then(|| not_loaded(LIBRARY_OF_DISKS)),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Why the server of a node does not tell what it synchronises to disk; None if it does, or need not.
    pub(in crate::cluster) fn power_obstacle(&self, node: NodeNo) -> Option<String> {
        let logged = self.folders.as_ref()?.log(node)?.length();
        let start = self.starts[node.index()].lock().expect("no holder panics");
        match logged {
            Ok(logged) => (logged <= start.logged).then(|| not_loaded(LIBRARY_OF_LOGS)),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// What is mounted into the container of a node with its files.
fn host(scratch: &Path, index: usize) -> PathBuf {
    scratch.join(format!("node-{}", index + 1))
}

fn clocks(scratch: &Path, host: usize) -> PathBuf {
    scratch.join(format!("clocks-{}", host + 1))
}

impl Engine {
    /// Why a need cannot be met that takes the library in a server of this engine; None if it can. The server's program is
    /// started with it, to see what it makes of it.
    pub async fn library_obstacle(&self, server: &Server, need: Need) -> Option<String> {
        if let Some(why) = speed::obstacle().or_else(|| self.files_obstacle()) {
            return Some(why);
        }
        let image = match self.image_of(&server.asked) {
            Ok(image) => image,
            Err(error) => return Some(error.to_string()),
        };
        match self.load_library(server, &image, need).await {
            Ok(None) => None,
            Ok(Some(said)) => Some(format!(
                "the library that changes time and disks cannot be loaded into the server of image `{image}`: {said} (hint: it \
                 needs glibc, not older than that of the system on which slotquake was built: the official images without \
                 `alpine` have it)"
            )),
            Err(error) => Some(format!(
                "whether the library that changes time and disks can be loaded into image `{image}`: {error}"
            )),
        }
    }

    /// Why containers of this engine share neither the clocks nor the files of this machine; None if they do.
    pub fn files_obstacle(&self) -> Option<String> {
        (!self.shares_kernel).then(|| {
            "this engine's containers have neither the time nor the files of this machine, as it does not run on its kernel \
             (hint: use `--backend local`)"
                .to_owned()
        })
    }

    /// What the server of an image said instead of loading the library; None if it has loaded it.
    async fn load_library(&self, server: &Server, image: &str, need: Need) -> Result<Option<String>, String> {
        let node = NodeNo(1);
        // Each server reads its clock.
        let needs = BTreeSet::from([Need::Clocks, need]);
        let mounted = Mounted::create(1, &needs).map_err(|error| error.to_string())?.expect("it needs clocks");
        let run = new_run();
        let name = format!("slotquake-{run}-library");
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec![server.path.display().to_string()]),
            cmd: Some(vec!["--version".to_owned()]),
            env: Some(mounted.variables(node).iter().map(|(name, value)| format!("{name}={value}")).collect()),
            labels: Some(Owner::this_process().labels(&run)),
            user: mounted.folders().map(|_| self.own_user()),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                binds: Some(mounted.binds(node)),
                ..Default::default()
            }),
            ..Default::default()
        };
        let printed = self.printed_by(&name, body).await.map_err(|error| error.to_string())?;
        let text = |error: io::Error| error.to_string();
        if mounted.clock(node).expect("it has one").told(ClockOf::Wall).map_err(text)?.count == 0 {
            // The linker says first what it could not load.
            let said = printed.lines().find(|line| line.contains("library.so")).map(str::trim);
            return Ok(Some(said.unwrap_or("it does not load libraries (is it linked statically?)").to_owned()));
        }
        match mounted.folders().and_then(|folders| folders.disk(node)).map(|disk| disk.is_taken()) {
            None | Some(Ok(true)) => Ok(None),
            Some(Ok(false)) => {
                Ok(Some("it cannot write to files of this user (does the engine map users?)".to_owned()))
            }
            Some(Err(error)) => Err(text(error)),
        }
    }
}
