// The drawing: identifiers are nodes. A set of two is a line between them, a larger one a small node with lines.

import cytoscape from "./cytoscape.esm.min.mjs";
import { layout } from "./layout.js";

/** With more nodes than this there is no drawing. */
export const MOST_NODES = 3000;
/** From this size on, drawing must be cheap. */
const LARGE = 500;

/** Colours that people with a colour-blindness can tell apart (Okabe and Ito), for customers and parts in turn. */
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7f00", "#7f7f7f"];

/** Returns the colour of a customer or of a part. */
export function colourOf(index) {
  return COLOURS[index % COLOURS.length];
}

const STYLE = [
  {
    selector: "node",
    style: {
      width: 26,
      height: 26,
      "background-color": "data(colour)",
      label: "data(label)",
      color: "#1b1b1b",
      "font-size": 12,
      "min-zoomed-font-size": 7,
      "text-margin-y": 4,
      "text-valign": "bottom",
      "text-background-color": "#ffffff",
      "text-background-opacity": 0.8,
      "text-background-padding": 1,
    },
  },
  { selector: "node[kind = 'phone']", style: { shape: "round-rectangle" } },
  { selector: "node[kind = 'set']", style: { shape: "diamond", width: 12, height: 12, "background-color": "#555555" } },
  { selector: "edge", style: { width: 2, "line-color": "#8a8a8a", "curve-style": "straight" } },
  { selector: ".bridge", style: { width: 4 } },
  { selector: ".off", style: { "line-style": "dotted", "line-color": "#c4c4c4", opacity: 0.6 } },
  { selector: "edge.cut", style: { width: 5, "line-style": "dashed", "line-color": "#c00000" } },
  { selector: "edge.path", style: { width: 7, "line-color": "#111111" } },
  { selector: "edge.path.cut", style: { "line-style": "dashed", "line-color": "#c00000" } },
  { selector: "node.path", style: { "border-width": 3, "border-color": "#111111" } },
  { selector: "node.picked", style: { "border-width": 6, "border-color": "#111111", width: 34, height: 34 } },
  { selector: ".absent", style: { display: "none" } },
];

/** A drawing in an element of the page. `picked` is called with the key of an identifier, or with nothing. */
export class View {
  #container;
  #picked;
  #cy;
  #strong; // the elements that are drawn larger than by their style

  constructor(container, picked) {
    this.#container = container;
    this.#picked = picked;
  }

  /** Draws a customer. Returns whether it has few enough nodes for that. */
  show(customer) {
    this.#cy?.destroy();
    this.#cy = undefined;
    this.#strong = undefined;
    const larger = customer.evidence.filter(({ keys }) => keys.length > 2);
    if (customer.identifiers.size + larger.length > MOST_NODES) return false;
    const node = (id, kind) => ({ id, kind, label: "", colour: COLOURS[0] });
    const nodes = [...customer.identifiers.values()].map(({ key, kind }) => node(key, kind));
    nodes.push(...larger.map(({ name }) => ({ ...node(name, "set"), set: name })));
    const edges = customer.evidence.flatMap((set) => {
      const { name } = set;
      const ends = customer.ends(set);
      const edge = (id, source, target) => ({ id, set: name, source, target });
      if (ends.length > 2) return ends.map((key, index) => edge(`${name} ${index}`, name, key));
      return ends.length === 2 ? [edge(name, ends[0], ends[1])] : [];
    });
    const indices = new Map(nodes.map(({ id }, index) => [id, index]));
    const places = layout(nodes.length, edges.map(({ source, target }) => [indices.get(source), indices.get(target)]));
    const isLarge = nodes.length > LARGE;
    this.#cy = cytoscape({
      container: this.#container,
      style: STYLE,
      layout: { name: "preset", padding: 40 },
      elements: [
        ...nodes.map((data, index) => ({ group: "nodes", data, position: places[index] })),
        ...edges.map((data) => ({ group: "edges", data })),
      ],
      minZoom: 0.02,
      maxZoom: 3,
      boxSelectionEnabled: false,
      autounselectify: true,
      textureOnViewport: isLarge,
      hideEdgesOnViewport: isLarge,
      pixelRatio: isLarge ? 1 : "auto",
    });
    this.#cy.on("tap", ({ target }) => {
      if (target === this.#cy) this.#picked();
      else if (target.isNode() && target.data("kind") !== "set") this.#picked(target.id());
    });
    this.#cy.on("zoom", () => this.#strengthen());
    return true;
  }

  /** Shows all of it, as large as fits. */
  fit() {
    const cy = this.#cy;
    if (!cy) return;
    cy.resize();
    cy.fit(cy.elements().not(".absent"), 40);
    if (cy.zoom() > 1.4) cy.zoom({ level: 1.4, renderedPosition: { x: cy.width() / 2, y: cy.height() / 2 } });
  }

  /** Shows the picked identifiers and their path. */
  showNear() {
    const cy = this.#cy;
    const nodes = cy?.nodes(".picked, .path");
    if (!nodes?.nonempty()) return;
    cy.fit(nodes, 80);
    if (cy.zoom() > 1) cy.zoom(1);
    cy.center(nodes);
  }

  /**
   * Changes how it looks. `keys` and `sets` are there at the moment; `colours` are those of identifiers; the names of
   * sets that are switched off, on the path, in the weakest cut, or bridges; the labels, and the picked identifiers.
   */
  update({ keys, sets, colours, labels, off, path, cut, bridges, picked }) {
    const cy = this.#cy;
    if (!cy) return;
    cy.batch(() => {
      cy.nodes("[kind != 'set']").forEach((node) => {
        const key = node.id();
        const data = { label: labels.get(key), colour: colours.get(key) ?? COLOURS[0] };
        if (node.data("label") !== data.label || node.data("colour") !== data.colour) node.data(data);
        node.toggleClass("absent", !keys.has(key));
        node.toggleClass("picked", picked.includes(key));
      });
      cy.elements("[set]").forEach((element) => {
        const name = element.data("set");
        element.toggleClass("absent", !sets.has(name));
        element.toggleClass("off", off.has(name));
        element.toggleClass("path", path.has(name));
        element.toggleClass("cut", cut.has(name));
        element.toggleClass("bridge", bridges.has(name));
      });
      cy.nodes("[kind != 'set']").forEach((node) => {
        node.toggleClass("path", node.connectedEdges(".path").nonempty());
      });
    });
    this.#strengthen();
  }

  /** Draws what is picked and its path large enough to be seen from far away. */
  #strengthen() {
    const cy = this.#cy;
    const factor = 0.4 / cy.zoom();
    cy.batch(() => {
      this.#strong?.removeStyle("width height border-width");
      this.#strong = cy.elements(factor > 1 ? "edge.path, edge.cut, node.picked" : ".none");
      this.#strong.edges().style("width", 6 * factor);
      this.#strong.nodes().style({ width: 34 * factor, height: 34 * factor, "border-width": 6 * factor });
    });
  }
}
