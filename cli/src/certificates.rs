//! `isochrone cert`: certificates made and shown.
//!
//! Must never print a key.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use isochrone_transport::{Authority, Identity, Role};
use serde::Serialize;

use crate::arguments::{CertArguments, CertCommand};
use crate::config::Config;
use crate::daemons::CERTIFICATES;
use crate::output;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// `isochrone cert`
pub fn cert(arguments: CertArguments, config: Config) -> anyhow::Result<()> {
    match arguments.command {
        CertCommand::Authority { farm, directory } => authority(&farm, &directory),
        CertCommand::Issue { role, name, tenant, days, authority, directory, replace } => {
            let directory = directory.unwrap_or_else(|| authority.clone());
            issue(&Issue { role, name, tenant, days, authority, directory, replace })
        }
        CertCommand::Show { directory, json } => {
            let directory = directory.or(config.client.certificates).unwrap_or_else(|| CERTIFICATES.into());
            show(&directory, json)
        }
    }
}

fn authority(farm: &str, directory: &Path) -> anyhow::Result<()> {
    let authority = Authority::create(farm)?;
    authority.save(directory)?;
    let folder = directory.display();
    output::print(&format!(
        "the authority of farm `{farm}` is in {folder}, valid until {}\n\
         keep {folder}/authority.key on this machine; next, issue a certificate for each machine, for example:\n  \
         isochrone cert issue scheduler main --authority {folder} --directory for-scheduler\n  \
         isochrone cert issue agent gpu-7 --authority {folder} --directory for-gpu-7\n  \
         isochrone cert issue client ann --tenant physics --authority {folder} --directory for-ann\n",
        date(authority.not_after()),
    ));
    Ok(())
}

struct Issue {
    role: Role,
    name: String,
    tenant: Option<String>,
    days: u32,
    authority: PathBuf,
    directory: PathBuf,
    replace: bool,
}

fn issue(wanted: &Issue) -> anyhow::Result<()> {
    let Issue { role, name, tenant, days, authority, directory, replace } = wanted;
    let authority = Authority::load(authority).with_context(|| {
        format!("no authority in {}; make one with `isochrone cert authority FARM`", authority.display())
    })?;
    let tenant = match (role.has_tenant(), tenant) {
        (true, Some(tenant)) => Some(tenant.as_str()),
        (true, None) => Some(name.as_str()),
        (false, None) => None,
        (false, Some(_)) => bail!("only clients and admins have a tenant; leave --tenant out for {role}"),
    };
    let validity = Duration::from_secs(u64::from(*days) * DAY_SECONDS);
    let issued = authority.issue(*role, name, tenant, validity)?;
    if *replace {
        issued.save_replacing(directory)?;
    } else {
        issued.save(directory).context("nothing was issued; --replace renews a certificate that is there")?;
    }
    let folder = directory.display();
    let next = match role {
        Role::Scheduler => format!("isochrone scheduler --certificates {folder} --name {name}"),
        Role::Agent => {
            format!("isochrone agent --scheduler HOST:7447 --certificates {folder} --name {name}")
        }
        Role::Client => {
            format!("isochrone devices --scheduler HOST:7447 --certificates {folder} --name {name}")
        }
        Role::Admin => {
            format!("isochrone shutdown --scheduler HOST:7447 --certificates {folder} --name {name}")
        }
    };
    output::print(&format!(
        "{} of farm `{}` is in {folder} ({role}-{name}.pem, {role}-{name}.key, authority.pem), valid until {}\n\
         use it with:\n  {next}\n",
        issued.peer_identity(),
        authority.farm_name(),
        date(issued.not_after()),
    ));
    Ok(())
}

/// One certificate of a folder.
#[derive(Serialize)]
struct Shown {
    file: String,
    identity: Option<String>,
    valid_until: Option<String>,
    problem: Option<String>,
}

fn show(directory: &Path, json: bool) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot read the certificates in {}", directory.display()))?;
    let mut files: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|file| file.ends_with(".pem"))
        .collect();
    files.sort();
    let shown: Vec<Shown> = files.iter().map(|file| shown(directory, file)).collect();
    if json {
        return output::json(&shown);
    }
    if shown.is_empty() {
        bail!("no certificates in {}; see `isochrone cert --help`", directory.display());
    }
    let rows: Vec<Vec<String>> = shown
        .into_iter()
        .map(|certificate| {
            vec![
                certificate.file,
                certificate.identity.unwrap_or_default(),
                certificate.valid_until.unwrap_or_default(),
                certificate.problem.unwrap_or_default(),
            ]
        })
        .collect();
    output::print(&output::table(&["file", "identity", "valid until", "problem"], &rows));
    Ok(())
}

fn shown(directory: &Path, file: &str) -> Shown {
    let empty = Shown { file: file.to_owned(), identity: None, valid_until: None, problem: None };
    let problem = |error: &dyn std::error::Error| Some(described(error));
    if file == "authority.pem" {
        if !directory.join("authority.key").exists() {
            return Shown { identity: Some("authority (its key is elsewhere)".to_owned()), ..empty };
        }
        return match Authority::load(directory) {
            Ok(authority) => Shown {
                identity: Some(format!("authority of farm {}", authority.farm_name())),
                valid_until: Some(date(authority.not_after())),
                ..empty
            },
            Err(error) => Shown { problem: problem(&error), ..empty },
        };
    }
    let named = file
        .strip_suffix(".pem")
        .and_then(|stem| stem.split_once('-'))
        .and_then(|(role, name)| Some((role.parse::<Role>().ok()?, name)));
    let Some((role, name)) = named else {
        return Shown { problem: Some("not named ROLE-NAME.pem".to_owned()), ..empty };
    };
    match Identity::load_named(directory, role, name) {
        Ok(identity) => Shown {
            identity: Some(identity.peer_identity().to_string()),
            valid_until: Some(date(identity.not_after())),
            ..empty
        },
        Err(error) => Shown { problem: problem(&error), ..empty },
    }
}

/// An error with its causes, on one line.
fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The day, in Greenwich, as `YYYY-MM-DD`.
fn date(time: SystemTime) -> String {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut days = since_epoch.as_secs() / DAY_SECONDS;
    let mut year = 1970_u64;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |days: u64| date(SystemTime::UNIX_EPOCH + Duration::from_secs(days * DAY_SECONDS));
        assert_eq!(at(0), "1970-01-01");
        assert_eq!(at(11_016), "2000-02-29");
        assert_eq!(at(11_017), "2000-03-01");
        assert_eq!(at(20_453), "2025-12-31");
    }
}
