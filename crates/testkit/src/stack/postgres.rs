//! PostgreSQL with its default, durable settings.

use crate::Database;
use crate::cache::Programs;
use crate::process::{Launch, Process};
use crate::wait::try_wait_until;
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, User, chown};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const UP_WITHIN: Duration = Duration::from_secs(60);
const PASSWORD: &str = "weir";

/// One server: its port, its folder and the user it runs as.
pub(super) struct Server {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    /// PostgreSQL refuses to run as root; then this is the unprivileged user and group.
    user: Option<(u32, u32)>,
}

impl Server {
    pub(super) fn new(programs: &Programs, stack: &Path) -> Result<Server> {
        let user = if Uid::effective().is_root() { Some(unprivileged()?) } else { None };
        let folder = stack.join("postgres");
        std::fs::create_dir(&folder)?;
        let mut server =
            Server { programs: programs.postgres(), folder, port: crate::ports::free()?, user };
        if let Some((user, group)) = user {
            std::fs::set_permissions(stack, Permissions::from_mode(0o711))?;
            chown(&server.folder, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
            // The cache is below root's home, where no other process may go.
            let copy = stack.join("postgres-programs");
            let status = Command::new("cp")
                .arg("-r")
                .arg(&server.programs)
                .arg(&copy)
                .status()
                .context("run cp")?;
            if !status.success() {
                bail!("copy PostgreSQL's programs to {}: {status}", copy.display());
            }
            server.programs = copy;
        }
        Ok(server)
    }

    pub(super) fn url(&self) -> String {
        self.url_of("weir")
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://weir:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates the cluster.
    pub(super) fn prepare(&self, log: &Path) -> Result<()> {
        let password = self.folder.join("password");
        std::fs::write(&password, PASSWORD)?;
        let launch = self.launch("initdb").args([
            "--username=weir",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        let launch = launch.arg("--pwfile").arg(&password).arg("-D").arg(self.folder.join("data"));
        let mut process = launch.start(log)?;
        let status = process.wait(UP_WITHIN)?;
        if !status.success() {
            bail!("initdb: {status}; its last words:\n{}", process.tail());
        }
        Ok(())
    }

    /// Starts it, waits until it takes connections, and creates the database `weir` the first time.
    pub(super) fn start(&self, log: &Path) -> Result<Process> {
        let launch = self
            .launch("postgres")
            .arg("-D")
            .arg(self.folder.join("data"))
            .arg("-k")
            .arg(&self.folder);
        let launch = launch.args([
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-c",
            "max_connections=200",
        ]);
        let mut process = launch.start(log)?;
        let connect = || Database::connect(&self.url_of("postgres")).ok();
        let server = match try_wait_until(UP_WITHIN, || {
            process.expect_running().map(|()| connect()).transpose()
        }) {
            Some(server) => server?,
            None => bail!(
                "PostgreSQL was not up after {UP_WITHIN:?}; its last words:\n{}",
                process.tail()
            ),
        };
        if server.texts("SELECT 1 FROM pg_database WHERE datname = 'weir'")?.is_empty() {
            server.execute("CREATE DATABASE weir")?;
        }
        Ok(process)
    }

    /// SIGQUIT as its last signal: an immediate shutdown, which gives back its shared memory, where
    /// SIGKILL would leak it.
    fn launch(&self, program: &str) -> Launch {
        Launch::new("PostgreSQL", self.programs.join("bin").join(program))
            .user(self.user)
            .last(Signal::SIGQUIT)
    }
}

fn unprivileged() -> Result<(u32, u32)> {
    let user = User::from_name("nobody")?
        .context("PostgreSQL does not run as root, and there is no user `nobody` to run it as")?;
    Ok((user.uid.as_raw(), user.gid.as_raw()))
}
