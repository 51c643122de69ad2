//! `slotquake status`.

use slotquake::run::{Ask, NodeStatus, Status};
use slotquake::slot::SLOTS;
use slotquake::topology::Role;
use tabled::builder::Builder;
use tabled::settings::{Padding, Style};

use super::exit::{Exit, Trouble};
use super::socket::{Response, Which};
use super::{Format, screen};

/// Show the state of the nodes of a cluster of `slotquake up`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The format of the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Prints the status.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    if let Response::Status(status) = args.which.ask(&Ask::Status)? {
        screen::print(&match args.format {
            Format::Table => table(&status),
            Format::Json => serde_json::to_string_pretty(&status).expect("a status is plain data"),
        })?;
    }
    Ok(Exit::Pass)
}

fn table(status: &Status) -> String {
    let mut builder = Builder::new();
    builder.push_record(["node", "address", "process", "role", "slots", "link", "lag", "state", "others report"]);
    for node in &status.nodes {
        builder.push_record([
            node.node.to_string(),
            node.addr.to_string(),
            node.process.clone(),
            role(node),
            if node.slots > 0 { node.slots.to_string() } else { String::new() },
            node.link_up.map_or("", |up| if up { "up" } else { "down" }).to_owned(),
            node.lag_bytes.map(|bytes| format!("{bytes} B")).unwrap_or_default(),
            node.state_ok.map_or("-", |ok| if ok { "ok" } else { "fail" }).to_owned(),
            others_report(node),
        ]);
    }
    let mut table = builder.build();
    table.with(Style::empty()).with(Padding::new(0, 2, 0, 0));
    let lines = table.to_string();
    let lines = lines.lines().map(str::trim_end);
    let owned: u32 = status.nodes.iter().filter(|node| is_serving(node)).map(|node| u32::from(node.slots)).sum();
    let server = &status.server;
    let mut summary =
        vec![format!("{} ({}): {owned} of {SLOTS} slots have a master that answers", server.asked, server.version)];
    for (name, kind) in &status.network_faults {
        summary.push(format!("active fault: {kind} (heal {name})"));
    }
    lines.map(str::to_owned).chain([String::new()]).chain(summary).collect::<Vec<_>>().join("\n")
}

fn is_serving(node: &NodeStatus) -> bool {
    node.state_ok.is_some() && node.role == Some(Role::Master)
}

fn role(node: &NodeStatus) -> String {
    let shard = || node.shard.map_or_else(|| "no shard".to_owned(), |shard| shard.to_string());
    match node.role {
        Some(Role::Master) if node.slots > 0 => format!("master of {}", shard()),
        Some(Role::Master) => "master without slots".to_owned(),
        Some(Role::ReplicaOf(master)) => format!("replica of {master}"),
        Some(Role::ReplicaOfUnknown) => "replica of an unknown master".to_owned(),
        None => "-".to_owned(),
    }
}

fn others_report(node: &NodeStatus) -> String {
    match (node.fail, node.pfail) {
        (0, 0) if node.others == 0 => "-".to_owned(),
        (0, 0) => "ok".to_owned(),
        (0, pfail) => format!("PFAIL ({pfail} of {})", node.others),
        (fail, 0) => format!("FAIL ({fail} of {})", node.others),
        (fail, pfail) => format!("FAIL ({fail}), PFAIL ({pfail} of {})", node.others),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prints_roles_and_opinions() {
        let node = |node: u16, process: &str, role: serde_json::Value, more: serde_json::Value| {
            let mut status = json!({
                "node": format!("node-{node}"), "addr": format!("127.1.0.{node}:6379"), "process": process, "role": role,
                "shard": "shard-1", "slots": 0, "link_up": null, "lag_bytes": null, "state_ok": null, "pfail": 0,
                "fail": 0, "others": 2,
            });
            status.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            status
        };
        let status = json!({
            "server": {
                "asked": "redis:6.2", "path": "/x/redis-server", "origin": "PATH",
                "version": {"flavour": "redis", "major": 6, "minor": 2, "patch": 14},
            },
            "nodes": [
                node(1, "gone (exit status: 0)", json!("master"), json!({"fail": 1, "pfail": 1, "shard": null})),
                node(4, "runs", json!("master"), json!({"slots": 5461, "state_ok": true})),
                node(7, "runs", json!({"replica-of": "node-4"}), json!({"link_up": true, "lag_bytes": 14, "state_ok": true})),
            ],
            "network_faults": [["cut", "partition"]],
        });
        let shown = table(&serde_json::from_value(status).expect("a status"));
        assert_eq!(
            shown,
            "\
node    address         process                role                  slots  link  lag   state  others report
node-1  127.1.0.1:6379  gone (exit status: 0)  master without slots                     -      FAIL (1), PFAIL (1 of 2)
node-4  127.1.0.4:6379  runs                   master of shard-1     5461               ok     ok
node-7  127.1.0.7:6379  runs                   replica of node-4            up    14 B  ok     ok

redis:6.2 (redis 6.2.14): 5461 of 16384 slots have a master that answers
active fault: partition (heal cut)"
        );
    }
}
