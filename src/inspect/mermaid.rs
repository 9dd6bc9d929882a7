use std::collections::HashSet;
use std::io::{self, Write};

use super::drawing::{Drawing, Mark, Node};

/// Writes a drawing in the language of Mermaid.
pub(super) fn write(out: &mut impl Write, drawing: &Drawing) -> io::Result<()> {
    writeln!(out, "---\ntitle: {}\n---", drawing.title)?;
    writeln!(out, "flowchart LR")?;
    for node in &drawing.nodes {
        write_node(out, node)?;
    }
    let mut placed = HashSet::new();
    for (number, part) in (1..).zip(&drawing.parts) {
        writeln!(out, "  subgraph part{number}[\"part {number}\"]")?;
        for name in part.iter().filter(|name| placed.insert(name.as_str())) {
            writeln!(out, "    {name}")?;
        }
        writeln!(out, "  end")?;
    }
    for line in &drawing.lines {
        let kind = match line.mark {
            Mark::Plain => "---",
            Mark::Absent => "-.-",
            Mark::Bridge | Mark::Path | Mark::Cut => "===",
        };
        writeln!(out, "  {} {kind} {}", line.from, line.to)?;
    }
    for (mark, class, style) in [
        (Mark::Absent, "absent", "stroke-dasharray:4,color:#888"),
        (Mark::Bridge, "bridge", "stroke-width:3px"),
        (Mark::Path, "path", "stroke:#00f,stroke-width:3px"),
        (Mark::Cut, "cut", "stroke:#f00,stroke-width:3px"),
    ] {
        let marked: Vec<&str> =
            drawing.nodes.iter().filter(|node| node.mark == mark).map(|node| node.name.as_str()).collect();
        if !marked.is_empty() {
            writeln!(out, "  classDef {class} {style}\n  class {} {class}", marked.join(","))?;
        }
    }
    Ok(())
}

fn write_node(out: &mut impl Write, node: &Node) -> io::Result<()> {
    let text = node.text.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("<br>");
    let (open, close) = if node.is_identifier { ("([", "])") } else { ("[", "]") };
    writeln!(out, "  {}{open}\"{text}\"{close}", node.name)
}

/// A text between quotes, in which no character has a meaning. Mermaid has no other way than numbers.
fn escaped(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || " @.-_+:,/*()".contains(c);
    let character = |c: char| if plain(c) { c.to_string() } else { format!("#{};", u32::from(c)) };
    text.chars().map(character).collect()
}
