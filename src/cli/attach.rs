//! The arguments for a cluster that is already running, and connecting to it.

use std::path::{Path, PathBuf};

use slotquake::batch::{self, Environment, EnvironmentError};
use slotquake::cluster::attach::{
    Attach, AttachError, PASSWORD_VARIABLE, ServerAccessSettings, Settings, ledgers_folder,
};
use slotquake::wire::{Access, Login, Tls, TlsSettings};
use slotquake_judge::words::count;

use super::containers;
use super::exit::Trouble;
use super::runtime::runtime;
use super::screen;
use super::signals::Signals;
use super::taken::{Taken, Wanted};

/// A cluster that is already running.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "With --backend attach")]
pub struct AttachArgs {
    /// Addresses of the cluster's nodes. One that answers is enough
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    nodes: Vec<String>,
    /// The Compose project whose containers are the nodes. The engine finds, stops, kills, starts and pauses them
    #[arg(long, value_name = "PROJECT", conflicts_with = "hooks")]
    compose: Option<String>,
    /// A file of shell commands that stop, kill, start and pause servers, and cut and heal their links
    #[arg(long, value_name = "FILE", requires = "nodes")]
    hooks: Option<PathBuf>,
    /// Allow suites to inject faults, force failovers and change directives during the run
    #[arg(long)]
    allow_faults: bool,
    /// Authenticate as this ACL user, with the password from `SLOTQUAKE_PASSWORD` or `--password-file`
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A file whose first line is the password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Connect with TLS
    #[arg(long)]
    tls: bool,
    /// Trust the certificate authorities in this PEM file instead of the system's
    #[arg(long, value_name = "FILE", requires = "tls", conflicts_with = "insecure")]
    cacert: Option<PathBuf>,
    /// The client certificate (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["tls", "key"])]
    cert: Option<PathBuf>,
    /// The key (PEM) of the client certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The name in the servers' certificates, instead of each node's address
    #[arg(long, value_name = "NAME", requires = "tls")]
    tls_server_name: Option<String>,
    /// Accept any server certificate
    #[arg(long, requires = "tls")]
    insecure: bool,
}

impl AttachArgs {
    /// One of the given arguments, if any.
    pub fn given(&self) -> Option<&'static str> {
        let given = [
            (!self.nodes.is_empty(), "--nodes"),
            (self.compose.is_some(), "--compose"),
            (self.hooks.is_some(), "--hooks"),
            (self.allow_faults, "--allow-faults"),
            (self.user.is_some(), "--user"),
            (self.password_file.is_some(), "--password-file"),
            (self.tls, "--tls"),
        ];
        given.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
    }

    fn access(&self) -> Result<Access, Trouble> {
        let password = match &self.password_file {
            Some(file) => Some(first_line(file)?),
            None => std::env::var(PASSWORD_VARIABLE).ok().filter(|password| !password.is_empty()),
        };
        let login = match (&self.user, password) {
            (user, Some(password)) => Some(Login::new(user.clone(), &password)),
            (Some(_), None) => {
                let message =
                    format!("`--user` requires a password (hint: set `{PASSWORD_VARIABLE}` or pass `--password-file`)");
                return Err(Trouble::usage(message));
            }
            (None, None) => None,
        };
        let tls = TlsSettings {
            ca_cert: self.cacert.clone(),
            identity: self.cert.clone().zip(self.key.clone()),
            server_name: self.tls_server_name.clone(),
            insecure: self.insecure,
        };
        let tls = self.tls.then(|| Tls::new(&tls)).transpose().map_err(Trouble::usage)?;
        Ok(Access { login, tls, relayed: false })
    }
}

/// Connects to the cluster and resolves the suites for it. Fails if a suite is not allowed there.
pub fn take(args: &AttachArgs, netfault_image: Option<String>, wanted: &Wanted<'_>) -> Result<Taken, Trouble> {
    if args.nodes.is_empty() && args.compose.is_none() {
        return Err(Trouble::usage(
            "`--backend attach` requires a cluster (hint: pass `--nodes HOST:PORT` or `--compose PROJECT`)",
        ));
    }
    if !wanted.servers.is_empty() {
        return Err(Trouble::usage(
            "`--server` cannot be used with `--backend attach`: the cluster is already running",
        ));
    }
    if wanted.overrides.to.is_some() {
        return Err(Trouble::usage(
            "`--to` cannot be used with `--backend attach`: slotquake does not change its servers",
        ));
    }
    let access = args.access()?;
    let runtime = runtime()?;
    let servers = match (&args.compose, &args.hooks) {
        (Some(project), _) => containers::compose(project, netfault_image, &runtime)?,
        (None, Some(file)) => ServerAccessSettings::Hooks(file.clone()),
        (None, None) => ServerAccessSettings::Ports,
    };
    let ledgers = ledgers_folder().map_err(|error| trouble(&error))?;
    let settings = Settings { seeds: args.nodes.clone(), access, allow_faults: args.allow_faults, servers, ledgers };
    let attach = runtime.block_on(Attach::connect(settings, &screen::say)).map_err(|error| trouble(&error))?;
    tell(&attach);
    let plans =
        batch::plans_on_found(wanted.suites, wanted.matrix, &wanted.overrides.sets, wanted.seed, attach.found());
    let plans = plans.map_err(Trouble::usage)?;
    let server = attach.server();
    let environment = runtime.block_on(Environment::attached(attach, &plans)).map_err(|error| match error {
        EnvironmentError::Refused(_) => Trouble::usage(error),
        error => Trouble::unavailable(error),
    })?;
    let plans = plans.into_iter().map(|fitted| fitted.plan).collect();
    let signals = Signals::listen(&runtime)?;
    Ok(Taken { plans, servers: [(server.asked.clone(), server)].into(), environment, runtime, signals })
}

fn tell(attach: &Attach) {
    let nodes = &attach.topology().nodes;
    let masters = nodes.iter().filter(|node| node.planned.replica_of.is_none()).count();
    screen::say(&format!(
        "found {} with {} and {}; node-1 is {}",
        attach.topology().version,
        count(masters as u64, "master"),
        count((nodes.len() - masters) as u64, "replica"),
        nodes[0].addr
    ));
}

fn first_line(file: &Path) -> Result<String, Trouble> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Trouble::usage(format!("cannot read password file \"{}\": {error}", file.display())))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Trouble::usage(format!("the first line of password file \"{}\" is empty", file.display()))),
    }
}

fn trouble(error: &AttachError) -> Trouble {
    if error.is_usage() { Trouble::usage(error) } else { Trouble::unavailable(error) }
}
