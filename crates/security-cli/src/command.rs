//! The command line as a whole: its verbs, its help, and one run of it.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
};

use clap::{Parser, Subcommand, error::ErrorKind};
use tracing_subscriber::EnvFilter;

use crate::{
    alerts,
    arguments::Global,
    audit, ban, breached, config, defang, detect, extract, identify, init, intel, ioc, key,
    output::{Exit, Failure, Outcome, tell},
    policy, rotate, rule, scan, secret,
    session::Session,
    status, suspicion, taxii, usage, warninglist,
};

const EXIT_CODES: &str = "\
Exit codes:
   0  clean: done, and nothing that somebody should look at
   1  failed: it could not be done, or a check did not hold (key verify, key import,
      audit verify, identify)
   2  usage: the command line or a value on it is wrong
   3  no input: the file is not there or empty, or nothing came on standard input
  10  found: ioc check or scan met a listed value, key scan a live key, warninglist check an
      entry, detect raised an alert, rule test matched, suspicion has findings, breached check
      knows the password, policy explain would turn the request away, policy check met a risk

Environment:
  SECURITY_DATA_DIR, SECURITY_CONFIG   as the options above
  SECURITY_LOG                         what is logged to stderr: warn (the default), debug, ...
  NO_COLOR                             no colours
  API_KEY, DB_PASSWORD, SECRET_TOKEN, MAIL_API_KEY, LOGGING_API_KEY
                                       the credentials; each also as NAME_FILE, a file with it
  SECURITY_MASTER_KEY, SECURITY_MASTER_KEY_PREVIOUS
                                       the key of stored secrets and the one before it, likewise";

/// Application security: API keys and credentials, threat intelligence, detection rules.
#[derive(Debug, Parser)]
#[command(name = "security", version, after_help = EXIT_CODES, max_term_width = 110, arg_required_else_help = true)]
struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
enum Verb {
    /// Make the data directory and say what is set up
    Init,
    /// API keys: verify, issue, list, revoke, rotate, import, scan, patterns, peppers
    #[command(subcommand)]
    Key(key::Verb),
    /// Secrets, encrypted at rest: put, get, list, delete, restore, rotate
    #[command(subcommand)]
    Secret(secret::Verb),
    /// Replace one of the five credentials by a new value
    Rotate(rotate::Arguments),
    /// Passwords that are known from breaches: build, check
    #[command(subcommand)]
    Breached(breached::Verb),
    /// Show the latest uses of credentials
    Usage(usage::Arguments),
    /// Look for suspicious use of credentials
    Suspicion,
    /// The audit trail: verify, show
    #[command(subcommand)]
    Audit(audit::Verb),
    /// Indicators of compromise: add, check, remove, delete, import, export
    #[command(subcommand)]
    Ioc(ioc::Verb),
    /// Intelligence records: search, show
    #[command(subcommand)]
    Intel(intel::Verb),
    /// Find indicators in text, defanged ones too
    Extract(extract::Arguments),
    /// Find the listed indicators in files and folders; exit code 10 when there is one
    Scan(scan::Arguments),
    /// Warninglists of what is known and harmless: load, list, check, remove
    #[command(subcommand)]
    Warninglist(warninglist::Verb),
    /// Say what kind of indicator a value is; exit code 1 when one is none
    Identify(identify::Arguments),
    /// Disarm the indicators in a text, so that nobody follows them by accident
    Defang(defang::Arguments),
    /// Arm the indicators in a text again
    Refang(defang::Arguments),
    /// Detection rules: add, test, list
    #[command(subcommand)]
    Rule(rule::Verb),
    /// Run events through the rules; exit code 10 when there is an alert
    Detect(detect::Arguments),
    /// Show the latest alerts
    Alerts(alerts::Arguments),
    /// TAXII 2.1 servers: add, list, collections, pull
    #[command(subcommand)]
    Taxii(taxii::Verb),
    /// Bans of clients: add, list, remove
    #[command(subcommand)]
    Ban(ban::Verb),
    /// The web layer's policy: check, explain
    #[command(subcommand)]
    Policy(policy::Verb),
    /// The configuration: show
    #[command(subcommand)]
    Config(config::Verb),
    /// Show the state of the engine: store, counts, versions
    Status,
}

/// Runs the command with these arguments, the program's name first; gives the exit code.
///
/// Writes to standard output and standard error, and reads standard input where a verb says so. What it opens it
/// closes again, so that nothing of the engine stays behind in a process that goes on.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> i32 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let exit = match CommandLine::try_parse_from(&arguments) {
        Ok(command_line) => execute(command_line),
        Err(error) => refuse(&error, &arguments),
    };
    exit as i32
}

fn execute(command_line: CommandLine) -> Exit {
    let json = command_line.global.json;
    let mut session = Session::new(command_line.global);
    let done = start_logging(&session)
        .and_then(|()| dispatch(command_line.verb, &mut session))
        .and_then(|exit| session.output.flush().map(|()| exit));
    // Closing flushes what is buffered, also after a failure; the first thing that went wrong is the one to tell.
    let closed = security::close().map_err(Failure::from);
    match done.and_then(|exit| closed.map(|()| exit)) {
        Ok(exit) => exit,
        Err(failure) => {
            // What was found before the failure is still the reader's.
            let _ = session.output.flush();
            tell(&failure, json)
        }
    }
}

fn dispatch(verb: Verb, session: &mut Session) -> Outcome {
    match verb {
        Verb::Init => init::run(session),
        Verb::Key(verb) => key::run(verb, session),
        Verb::Secret(verb) => secret::run(verb, session),
        Verb::Rotate(arguments) => rotate::run(&arguments, session),
        Verb::Breached(verb) => breached::run(verb, session),
        Verb::Usage(arguments) => usage::run(&arguments, session),
        Verb::Suspicion => suspicion::run(session),
        Verb::Audit(verb) => audit::run(verb, session),
        Verb::Ioc(verb) => ioc::run(verb, session),
        Verb::Intel(verb) => intel::run(verb, session),
        Verb::Extract(arguments) => extract::run(&arguments, session),
        Verb::Warninglist(verb) => warninglist::run(verb, session),
        Verb::Scan(arguments) => scan::run(&arguments, session),
        Verb::Identify(arguments) => identify::run(&arguments, session),
        Verb::Defang(arguments) => defang::run(&arguments, security::defang, session),
        Verb::Refang(arguments) => {
            defang::run(&arguments, |text| security::refang(text).into_owned(), session)
        }
        Verb::Rule(verb) => rule::run(verb, session),
        Verb::Detect(arguments) => detect::run(&arguments, session),
        Verb::Alerts(arguments) => alerts::run(&arguments, session),
        Verb::Taxii(verb) => taxii::run(verb, session),
        Verb::Ban(verb) => ban::run(verb, session),
        Verb::Policy(verb) => policy::run(&verb, session),
        Verb::Config(config::Verb::Show) => config::run(session),
        Verb::Status => status::run(session),
    }
}

/// Help, version, or a command line that cannot be understood.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> Exit {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let json = arguments.iter().any(|argument| argument == "--json");
    if asked_for || !json {
        let _ = error.print(); // whoever was to read it is gone
        return if asked_for { Exit::Clean } else { Exit::Usage };
    }
    let text = error.render().to_string();
    let message = text.lines().next().unwrap_or_default();
    let failure = Failure::usage(message.strip_prefix("error: ").unwrap_or(message));
    tell(&failure.with_hint("`--help` after the verb shows what it takes"), json)
}

fn start_logging(session: &Session) -> Result<(), Failure> {
    let wanted = session.log_filter();
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or("warn")).map_err(|error| {
        Failure::usage(format!("SECURITY_LOG: {error}"))
            .with_hint("accepted is a level like `debug`, or `security=debug`")
    })?;
    // In a process that logs already, what is there stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        )
        .try_init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
