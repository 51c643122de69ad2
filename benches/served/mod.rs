//! A cluster of three masters that serves while something is measured, formed as a run forms its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use slotquake::cluster::form::form;
use slotquake::cluster::local::Local;
use slotquake::cluster::watch::{Snapshot, Watch};
use slotquake::cluster::{Backend, Control};
use slotquake::history::{Header, Host, SCHEMA_VERSION};
use slotquake::journal::{Journal, Recorder};
use slotquake::plan::Plan;
use slotquake::server::{BackendKind, Server};
use slotquake::suite;
use slotquake::units::Speed;
use tempfile::TempDir;

/// The plan of three masters without persistence, with a workload.
pub fn plan(workload: &str) -> Plan {
    let text = format!(
        "name: bench\nabout: Three masters, to measure by.\ncluster: {{ replicas-per-master: 0, config: {{ \
         appendonly: no, save: '' }} }}\nworkload: {{ {workload} }}\nsteps: [{{ settle: 1s }}]\n\
         invariants: [{{ acked-writes: {{ may-lose: 0 }} }}]\n"
    );
    let suite = suite::parse(&text, Path::new("bench")).expect("the suite reads");
    Plan::new(&suite, 1).expect("the suite plans")
}

/// A cluster that serves.
pub struct Served {
    pub backend: Arc<Local>,
    pub control: Arc<Control<Local>>,
    server: Server,
    folder: TempDir,
}

impl Served {
    /// The cluster of a plan, and what its nodes saw once it had formed.
    pub async fn form(plan: &Plan) -> (Self, Snapshot) {
        let server = slotquake::server::find(&plan.server, &|notice| eprintln!("{notice}")).expect("a server");
        let folder = tempfile::tempdir().expect("a folder");
        let backend = Arc::new(Local::prepare(plan, &server, folder.path(), false, None, None).expect("a cluster"));
        let control = Arc::new(Control::new(Arc::clone(&backend)));
        let served = Self { backend, control, server, folder };
        let watch = Watch::begin(&served.control, &served.journal(plan));
        form(plan, &served.control, &watch).await.expect("the cluster forms");
        let snapshot = watch.snapshot();
        drop(watch);
        (served, snapshot)
    }

    /// What records a workload, in a folder of its own for as long as the cluster is there.
    pub fn journal(&self, plan: &Plan) -> Arc<Journal> {
        let folder = tempfile::tempdir_in(self.folder.path()).expect("a folder").keep();
        let header = Header {
            schema_version: SCHEMA_VERSION,
            tool_version: String::new(),
            plan: plan.clone(),
            server: self.server.clone(),
            other_servers: BTreeMap::new(),
            host: Host { os: String::new(), cores: 0, backend: BackendKind::Local.into() },
            started_at: String::new(),
            speed: Speed::REAL,
        };
        Arc::new(Journal::new(Recorder::create(&folder, header).expect("a history"), Arc::new(|_| {})))
    }

    pub async fn tear_down(self) {
        self.backend.tear_down().await.expect("nothing is left behind");
    }
}
