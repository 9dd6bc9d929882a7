//! The commands in documents: each exists and has the flags that it is given.

use std::fs;

use super::{code, current_documents, has_word, help, is_variable, root};

/// A command of this project in a document.
#[derive(Debug, PartialEq, Eq)]
struct NamedCommand {
    /// `identity`, or the path of a script.
    program: String,
    /// The variables that are set for it alone.
    variables: Vec<String>,
    arguments: Vec<String>,
}

impl NamedCommand {
    /// Returns the commands of this project in a piece of code.
    fn all_in(code: &str) -> Vec<Self> {
        let code = code.split(" #").next().unwrap_or_default();
        code.split(['(', ')', ';', '|', '&']).filter_map(Self::parse).collect()
    }

    fn parse(command: &str) -> Option<Self> {
        let mut words = command.split_whitespace().skip_while(|word| *word == "$").peekable();
        let mut variables = Vec::new();
        while let Some((name, _)) = words.peek().and_then(|word| word.split_once('=')) {
            if !is_variable(name) {
                return None;
            }
            variables.push(name.to_owned());
            words.next();
        }
        let is_script = |word: &str| word.starts_with("scripts/") && !word.ends_with('/');
        let program = words.next().filter(|word| *word == "identity" || is_script(word))?;
        Some(Self { program: program.to_owned(), variables, arguments: words.map(str::to_owned).collect() })
    }

    /// Returns its flags, without their values.
    fn flags(&self) -> impl Iterator<Item = &str> {
        let words = self.arguments.iter().map(|word| word.split('=').next().unwrap_or_default());
        words.filter(|word| word.starts_with("--"))
    }
}

/// Flags that a script hands on to the program that it runs.
const HANDED_ON: [(&str, &str); 1] = [("scripts/test", "--test")];

/// Returns what is wrong with a command of a document, if anything is.
fn wrong_command(command: &NamedCommand) -> Option<String> {
    let text = if command.program == "identity" {
        let is_subcommand = |word: &&String| word.chars().all(|c| c.is_ascii_lowercase());
        let subcommands: Vec<_> = command.arguments.iter().take_while(is_subcommand).map(String::as_str).collect();
        match help(&subcommands) {
            Some(text) => text,
            None => return Some(format!("there is no `identity {}`", subcommands.join(" "))),
        }
    } else {
        match fs::read_to_string(root().join(&command.program)) {
            Ok(text) => text,
            Err(_) => return Some(format!("there is no {}", command.program)),
        }
    };
    let variables = command.variables.iter().map(|name| name.strip_prefix("IDENTITY_").unwrap_or(name));
    let is_handed_on = |name: &&str| HANDED_ON.contains(&(&command.program, name));
    let unknown = command.flags().chain(variables).filter(|name| !has_word(&text, name) && !is_handed_on(name));
    let unknown: Vec<_> = unknown.collect();
    (!unknown.is_empty()).then(|| format!("`{}` has no {unknown:?}", command.program))
}

#[test]
fn every_command_in_a_document_has_the_flags_that_it_is_given() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (document, text) in current_documents() {
        for command in code(&text).iter().flat_map(|code| NamedCommand::all_in(code)) {
            count += 1;
            wrong.extend(wrong_command(&command).map(|what| format!("{}: {what}", document.display())));
        }
    }
    assert!(count > 50, "only {count} commands");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

mod made_up_documents {
    use super::*;

    #[test]
    fn commands_are_found_in_code() {
        let named = |program: &str, variables: &[&str], arguments: &[&str]| NamedCommand {
            program: program.to_owned(),
            variables: variables.iter().map(|&word| word.to_owned()).collect(),
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
        };
        let text = "Run `identity verify\n--plan` or:\n```sh\nAB=1 B_C=2 identity serve & # identity x\n\
            T=$(identity token new a \\\n    --rate 5)\nscripts/test --no-servers | tail\nkubectl -n identity --x\n\
            ```\n";
        let found: Vec<_> = code(text).iter().flat_map(|code| NamedCommand::all_in(code)).collect();
        let expected = [
            named("identity", &[], &["verify", "--plan"]),
            named("identity", &["AB", "B_C"], &["serve"]),
            named("identity", &[], &["token", "new", "a", "--rate", "5"]),
            named("scripts/test", &[], &["--no-servers"]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn wrong_commands_are_found() {
        let wrong = |code: &str| wrong_command(&NamedCommand::all_in(code)[0]);
        for code in ["identity verify --plan", "IDENTITY_PORT=1 PORT=2 identity", "identity bench run --rate=5"] {
            assert_eq!(wrong(code), None);
        }
        assert_eq!(wrong("identity verify --plans").unwrap(), "`identity` has no [\"--plans\"]");
        assert_eq!(wrong("PORTS=1 identity").unwrap(), "`identity` has no [\"PORTS\"]");
        assert_eq!(wrong("identity repair").unwrap(), "there is no `identity repair`");
        assert_eq!(wrong("scripts/test --server").unwrap(), "`scripts/test` has no [\"--server\"]");
        assert_eq!(wrong("scripts/nothing").unwrap(), "there is no scripts/nothing");
    }
}
