//! The arguments that choose a backend, and starting it.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use slotquake::batch::{self, Environment};
use slotquake::cluster::Reach;
use slotquake::plan::Plan;
use slotquake::sandbox::Mode;
use slotquake::server::BackendKind;
use slotquake::speed::{self, Speed, SpeedError};
use slotquake::suite::SpeedSetting;

use super::exit::Trouble;
use super::runtime::listening;
use super::taken::{Taken, Wanted};
use super::{attach, containers, prepare};

/// Which backend runs the nodes, and how.
#[derive(Debug, clap::Args)]
pub struct BackendArgs {
    /// Whether to run in the sandbox: `auto` enters it if possible, `require` fails unless the sandbox and the parts
    /// of nft that the suites need are available. Without the sandbox, suites with network faults are skipped
    #[arg(long, value_name = "MODE", conflicts_with_all = ["image", "netfault_image"], default_value_t = Mode::Auto,
        value_parser = PossibleValuesParser::new(["auto", "off", "require"]).try_map(|word| word.parse::<Mode>()))]
    sandbox: Mode,
    /// What runs the nodes
    #[arg(long, default_value_t = BackendKind::Local, value_parser = parser(&BackendKind::ALL))]
    backend: BackendKind,
    /// Run every server from this image instead of `redis:6.2`, `valkey/valkey:9.1` and so on
    #[arg(long, value_name = "IMAGE", conflicts_with = "servers")]
    image: Option<String>,
    /// The image with nft that cuts links between containers; docker/netfault.Dockerfile builds the default,
    /// slotquake-netfault:1
    #[arg(long, value_name = "IMAGE")]
    netfault_image: Option<String>,
    /// How to connect to containers: by their addresses, or by published ports of 127.0.0.1. With ports, all clients
    /// share one address, and suites that isolate clients are skipped. `auto` uses addresses on Linux with an engine on
    /// this machine that is not rootless
    #[arg(long, value_name = "HOW",
        value_parser = PossibleValuesParser::new(["auto", "address", "ports"]).try_map(|word| word.parse::<Reach>()))]
    reach: Option<Reach>,
    /// Let slotquake and its servers live this many times as fast as real time: a whole number up to 100, or `auto` for
    /// what this machine can keep (only with `--backend local`). All times are then those of the cluster. By default the
    /// suite's own `speed`, beyond which no suite goes. Not with `--backend attach`; on Linux with glibc, and so in containers
    #[arg(long, value_name = "N")]
    speed: Option<SpeedSetting>,
    #[command(flatten)]
    attach: attach::AttachArgs,
}

/// Parses the name of one of these backends. The help describes each.
pub fn parser(kinds: &[BackendKind]) -> impl TypedValueParser<Value = BackendKind> + use<> {
    let value = |kind: &BackendKind| PossibleValue::new(kind.word()).help(about(*kind));
    PossibleValuesParser::new(kinds.iter().map(value)).try_map(|word| word.parse::<BackendKind>())
}

/// Makes this process live at the highest speed that the plans may have. Call it while there is one thread.
pub fn speed(plans: &[Plan], asked: Option<SpeedSetting>) -> Result<(), Trouble> {
    // What the machine cannot do is an error only if the user asks for it by a number.
    if speed::obstacle().is_some() && !matches!(asked, Some(SpeedSetting::Fixed(_))) {
        return Ok(());
    }
    let highest = plans.iter().map(|plan| plan.speed(asked, batch::AUTO_MAX)).max().unwrap_or(Speed::REAL);
    speed::begin(highest).map_err(|error| match error {
        SpeedError::Unsupported { .. } => Trouble::usage(error),
        error => Trouble::unavailable(error),
    })
}

/// Refuses a speed that a backend cannot have.
pub fn refuse_speed(backend: BackendKind, speed: SpeedSetting) -> Result<(), Trouble> {
    let why = match (backend, speed) {
        (BackendKind::Local, _) | (BackendKind::Docker, SpeedSetting::Fixed(_)) => return Ok(()),
        (BackendKind::Docker, SpeedSetting::Auto) => {
            "requires `--backend local` (hint: give a number, such as `--speed 5`)".to_owned()
        }
        (BackendKind::Attach, _) => {
            "requires `--backend local` or `--backend docker`: slotquake cannot change the time of \
                                     servers that it does not start"
                .to_owned()
        }
    };
    Err(Trouble::usage(format!("`--speed {speed}` {why}")))
}

fn about(kind: BackendKind) -> &'static str {
    match kind {
        BackendKind::Local => "Processes of this machine, in the sandbox if possible",
        BackendKind::Docker => "Containers of Docker, or of the engine in `DOCKER_HOST`",
        BackendKind::Attach => "A cluster that is already running",
    }
}

impl BackendArgs {
    /// The speed that was asked for, and what is possible with this backend on this machine.
    pub fn speed(&self) -> Option<SpeedSetting> {
        let real = SpeedSetting::Fixed(Speed::REAL);
        match self.backend {
            _ if speed::obstacle().is_some() => Some(real),
            BackendKind::Local => self.speed,
            // A suite's own speed does not say that its servers can live so in every image.
            BackendKind::Docker => Some(self.speed.unwrap_or(real)),
            BackendKind::Attach => Some(real),
        }
    }

    /// Whether all runs use one cluster, so that they must not run at the same time.
    pub fn is_shared(&self) -> bool {
        self.backend == BackendKind::Attach
    }

    /// Loads and resolves the suites, finds the servers, and prepares the backend. Calls `make_folder` once there is
    /// something to report.
    pub fn take(
        &self,
        wanted: &Wanted<'_>,
        make_folder: impl FnOnce() -> Result<(), Trouble>,
    ) -> Result<Taken, Trouble> {
        match self.backend {
            BackendKind::Attach => {
                self.refuse_misplaced()?;
                let taken = attach::take(&self.attach, self.netfault_image.clone(), wanted)?;
                make_folder()?;
                Ok(taken)
            }
            BackendKind::Docker | BackendKind::Local => {
                self.refuse_misplaced()?;
                let plans = prepare::plans(wanted)?;
                self.take_for(plans, make_folder)
            }
        }
    }

    /// Refuses arguments that are for another backend.
    fn refuse_misplaced(&self) -> Result<(), Trouble> {
        if let Some((argument, backends)) = self.misplaced() {
            return Err(Trouble::usage(format!("`{argument}` requires `{backends}`")));
        }
        if let Some(speed) = self.speed.filter(|speed| *speed != SpeedSetting::Fixed(Speed::REAL)) {
            refuse_speed(self.backend, speed)?;
        }
        Ok(())
    }

    /// Finds the servers of plans, and prepares a backend that starts them.
    pub fn take_for(
        &self,
        plans: Vec<Plan>,
        make_folder: impl FnOnce() -> Result<(), Trouble>,
    ) -> Result<Taken, Trouble> {
        self.refuse_misplaced()?;
        match self.backend {
            BackendKind::Attach => {
                Err(Trouble::usage("`--backend attach` cannot be used here: each schedule needs a cluster of its own"))
            }
            BackendKind::Docker => {
                speed(&plans, self.speed())?;
                let images = (self.image.clone(), self.netfault_image.clone());
                let (servers, environment, runtime, signals) =
                    containers::take(images, self.reach.unwrap_or_default(), &plans)?;
                make_folder()?;
                Ok(Taken { plans, servers, environment, runtime, signals })
            }
            BackendKind::Local => {
                let servers = prepare::servers(&plans)?;
                // Fetching is done, in real time. With another speed, all of the above happens again, faster.
                speed(&plans, self.speed)?;
                make_folder()?;
                // From here on this may be another process, without the machine's network.
                let environment = Environment::enter(self.sandbox, &plans).map_err(Trouble::unavailable)?;
                let (runtime, signals) = listening()?;
                Ok(Taken { plans, servers, environment, runtime, signals })
            }
        }
    }

    /// An argument that is not for this backend, with the backends that it is for.
    fn misplaced(&self) -> Option<(&'static str, &'static str)> {
        let is_docker = self.backend == BackendKind::Docker;
        if !is_docker && self.image.is_some() {
            Some(("--image", "--backend docker"))
        } else if !is_docker && self.reach.is_some() {
            Some(("--reach", "--backend docker"))
        } else if self.backend == BackendKind::Local && self.netfault_image.is_some() {
            Some(("--netfault-image", "--backend docker"))
        } else if self.backend == BackendKind::Attach {
            None
        } else {
            Some((self.attach.given()?, "--backend attach"))
        }
    }
}
