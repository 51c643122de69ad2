//! Where nodes run, as arguments, and getting there.

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use slotquake::batch::Ground;
use slotquake::cluster::Reach;
use slotquake::sandbox::Mode;

use super::exit::Trouble;
use super::runtime::listening;
use super::taken::{Taken, Wanted};
use super::{attach, containers, prepare};

/// What runs the nodes.
#[derive(Debug, clap::Args)]
pub struct PlaceArgs {
    /// Whether to run in the sandbox: where possible, not at all, or fail unless it and what the suites
    /// need of nft are there. Without it, suites with network faults are skipped
    #[arg(long, value_name = "MODE", conflicts_with_all = ["image", "netfault_image"], default_value_t = Mode::Auto,
        value_parser = PossibleValuesParser::new(["auto", "off", "require"]).try_map(|word| word.parse::<Mode>()))]
    sandbox: Mode,
    /// What runs the nodes
    #[arg(long, value_enum, default_value_t = Backend::Local)]
    backend: Backend,
    /// Run every server from this image instead of `redis:6.2`, `valkey/valkey:9.1` and so on
    #[arg(long, value_name = "IMAGE", conflicts_with = "servers")]
    image: Option<String>,
    /// The image with nft that cuts links between containers; docker/netfault.Dockerfile builds the default,
    /// slotquake-netfault:1
    #[arg(long, value_name = "IMAGE")]
    netfault_image: Option<String>,
    /// How containers are connected to: by their addresses, or by published ports of 127.0.0.1, where all clients
    /// have one address and suites that cut some of them off are skipped. `auto` takes addresses on Linux with an
    /// engine on this machine that is not rootless
    #[arg(long, value_name = "HOW",
        value_parser = PossibleValuesParser::new(["auto", "address", "ports"]).try_map(|word| word.parse::<Reach>()))]
    reach: Option<Reach>,
    #[command(flatten)]
    attach: attach::AttachArgs,
}

/// What runs the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Backend {
    /// Processes of this machine, in the sandbox where possible.
    Local,
    /// Containers of Docker, or what `DOCKER_HOST` names.
    Docker,
    /// A cluster that somebody else started.
    Attach,
}

impl PlaceArgs {
    /// Whether runs disturb each other there: a cluster that is not ours is one for all of them.
    pub fn is_shared(&self) -> bool {
        self.backend == Backend::Attach
    }

    /// Loads and resolves the suites, finds what they need, and gets to where they can be run. `make_folder` is
    /// called once it is sure that there is something to report.
    pub fn take(
        &self,
        wanted: &Wanted<'_>,
        make_folder: impl FnOnce() -> Result<(), Trouble>,
    ) -> Result<Taken, Trouble> {
        if self.backend != Backend::Docker && self.image.is_some() {
            return Err(Trouble::usage("--image is for --backend docker"));
        }
        if self.backend != Backend::Docker && self.reach.is_some() {
            return Err(Trouble::usage("--reach is for --backend docker"));
        }
        if self.backend == Backend::Local && self.netfault_image.is_some() {
            return Err(Trouble::usage("--image and --netfault-image are for --backend docker"));
        }
        if self.backend == Backend::Attach {
            let taken = attach::take(&self.attach, self.netfault_image.clone(), wanted)?;
            make_folder()?;
            return Ok(taken);
        }
        if let Some(argument) = self.attach.given() {
            return Err(Trouble::usage(format!("{argument} is for --backend attach")));
        }
        let plans = prepare::plans(wanted.suites, wanted.servers, wanted.overrides, wanted.seed)?;
        let (servers, ground, runtime, signals) = if self.backend == Backend::Docker {
            let images = (self.image.clone(), self.netfault_image.clone());
            let taken = containers::take(images, self.reach.unwrap_or_default(), &plans)?;
            make_folder()?;
            taken
        } else {
            let servers = prepare::servers(&plans)?;
            make_folder()?;
            // From here on this may be another process; everything that needs the machine's network is done.
            let ground = Ground::take(self.sandbox, &plans).map_err(Trouble::harness)?;
            let (runtime, signals) = listening()?;
            (servers, ground, runtime, signals)
        };
        Ok(Taken { plans, servers, ground, runtime, signals })
    }
}
