use std::collections::HashSet;
use std::io::{self, Write};

use super::drawing::{Drawing, Mark, Node};

/// Writes a drawing in the language of Graphviz.
pub(super) fn write(out: &mut impl Write, drawing: &Drawing) -> io::Result<()> {
    writeln!(out, "graph identity {{")?;
    writeln!(out, "  graph [label=\"{}\", rankdir=LR];", escaped(&drawing.title))?;
    writeln!(out, "  node [fontname=\"sans-serif\"];")?;
    for node in &drawing.nodes {
        write_node(out, node)?;
    }
    let mut placed = HashSet::new();
    for (number, part) in (1..).zip(&drawing.parts) {
        writeln!(out, "  subgraph cluster_{number} {{")?;
        writeln!(out, "    label=\"part {number}\"; style=dashed;")?;
        for name in part.iter().filter(|name| placed.insert(name.as_str())) {
            writeln!(out, "    {name};")?;
        }
        writeln!(out, "  }}")?;
    }
    for line in &drawing.lines {
        let style = style(line.mark);
        writeln!(
            out,
            "  {} -- {}{};",
            line.from,
            line.to,
            if style.is_empty() { String::new() } else { format!(" [{style}]") }
        )?;
    }
    writeln!(out, "}}")
}

fn write_node(out: &mut impl Write, node: &Node) -> io::Result<()> {
    let text = node.text.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\\n");
    let shape = if node.is_identifier { "ellipse" } else { "box" };
    let style = style(node.mark);
    let comma = if style.is_empty() { "" } else { ", " };
    writeln!(out, "  {} [label=\"{text}\", shape={shape}{comma}{style}];", node.name)
}

fn style(mark: Mark) -> &'static str {
    match mark {
        Mark::Plain => "",
        Mark::Absent => "color=gray, fontcolor=gray, style=dashed",
        Mark::Bridge => "penwidth=3",
        Mark::Path => "color=blue, penwidth=3",
        Mark::Cut => "color=red, penwidth=3",
    }
}

/// A text between quotes. Nothing ends the quotes, and no backslash has a meaning.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
