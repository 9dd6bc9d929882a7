// Where the nodes of a graph stand. The same graph always looks the same, so the page can be learned.
//
// The layouts of the library compare all pairs of nodes in each round: 7 s for 1,000 nodes. Here nodes push away only
// those near them, and they begin as a tree around the node with the most links, so a few rounds are enough.

const LINK = 70; // the length of a link, in pixels
const REACH = 130; // how far a node pushes others away
const PUSH = 900;
const TURN = Math.PI * (3 - Math.sqrt(5)); // the golden angle, of the seeds of a sunflower

/** Returns a place `{x, y}` for each of `count` nodes; `links` are pairs of their indices. */
export function layout(count, links) {
  const near = Array.from({ length: count }, () => []);
  for (const [from, to] of links) {
    near[from].push(to);
    near[to].push(from);
  }
  const places = Array.from({ length: count }, () => ({ x: 0, y: 0 }));
  const groups = components(near);
  for (const group of groups) {
    if (!plant(group, near, places)) wind(group, near, places);
    const inside = new Set(group);
    relax(group, links.filter(([from]) => inside.has(from)), places);
  }
  shelve(groups, places);
  // A few nodes have room for their labels.
  const scale = count < 60 ? 2 : 1;
  return places.map(({ x, y }) => ({ x: x * scale, y: y * scale }));
}

/** Returns the connected groups of nodes, the largest first. */
function components(near) {
  const seen = new Array(near.length).fill(false);
  const groups = [];
  for (let start = 0; start < near.length; start += 1) {
    if (seen[start]) continue;
    const group = [start];
    seen[start] = true;
    for (const node of group) {
      for (const next of near[node]) {
        if (seen[next]) continue;
        seen[next] = true;
        group.push(next);
      }
    }
    groups.push(group);
  }
  return groups.sort((left, right) => right.length - left.length);
}

/**
 * Puts a group around its node with the most links: branches away from it, leaves as the seeds of a sunflower. Returns
 * whether that fits a page: a long chain does not.
 */
function plant(group, near, places) {
  const root = group.reduce((best, node) => (near[node].length > near[best].length ? node : best));
  const children = new Map([[root, []]]);
  const order = [root];
  for (const node of order) {
    for (const next of near[node]) {
      if (children.has(next)) continue;
      children.set(next, []);
      children.get(node).push(next);
      order.push(next);
    }
  }
  const depth = new Map([[root, 0]]);
  for (const node of order) for (const child of children.get(node)) depth.set(child, depth.get(node) + 1);
  if (depth.get(order.at(-1)) > 10 + 2 * Math.sqrt(group.length)) return false;
  const weight = new Map();
  for (const node of order.toReversed()) {
    weight.set(node, Math.max(1, children.get(node).reduce((sum, child) => sum + weight.get(child), 0)));
  }
  const sectors = new Map([[root, [0, 2 * Math.PI]]]);
  for (const node of order) {
    const sector = sectors.get(node);
    if (!sector) continue; // a leaf
    const [from, to] = sector;
    const leaves = children.get(node).filter((child) => !children.get(child).length);
    const branches = children.get(node).filter((child) => children.get(child).length);
    leaves.forEach((leaf, index) => {
      const radius = LINK * Math.sqrt(0.6 + index / 3);
      const angle = (from + to) / 2 + (index + 1) * TURN;
      places[leaf].x = places[node].x + radius * Math.cos(angle);
      places[leaf].y = places[node].y + radius * Math.sin(angle);
    });
    // A branch stands outside the leaves of the node.
    const distance = LINK * Math.max(1, Math.sqrt(leaves.length / 3));
    const total = branches.reduce((sum, branch) => sum + weight.get(branch), 0);
    let begin = from;
    for (const branch of branches) {
      const end = begin + ((to - from) * weight.get(branch)) / total;
      const angle = (begin + end) / 2;
      places[branch].x = places[node].x + distance * Math.cos(angle);
      places[branch].y = places[node].y + distance * Math.sin(angle);
      sectors.set(branch, [begin, end]);
      begin = end;
    }
  }
  return true;
}

/** Puts a group on a spiral, from one of its ends. */
function wind(group, near, places) {
  const end = group.find((node) => near[node].length < 2) ?? group[0];
  const [seen, open] = [new Set(), [end]];
  let angle = 2 * Math.PI;
  while (open.length) {
    const node = open.pop();
    if (seen.has(node)) continue;
    seen.add(node);
    const radius = (LINK * angle) / Math.PI;
    places[node].x = radius * Math.cos(angle);
    places[node].y = radius * Math.sin(angle);
    angle += LINK / radius;
    open.push(...near[node].filter((next) => !seen.has(next)));
  }
}

/** Moves the nodes of a group until links have their length and nodes do not cover each other. */
function relax(group, links, places) {
  const rounds = group.length > 1500 ? 60 : group.length > 400 ? 120 : 300;
  const moves = new Map(group.map((node) => [node, { x: 0, y: 0 }]));
  for (let round = 0; round < rounds; round += 1) {
    const heat = 25 * (1 - round / rounds) + 0.5;
    for (const move of moves.values()) move.x = move.y = 0;
    push(group, places, moves);
    for (const [from, to] of links) {
      const [x, y] = [places[to].x - places[from].x, places[to].y - places[from].y];
      const length = Math.hypot(x, y) || 1;
      const pull = (0.08 * (length - LINK)) / length;
      moves.get(from).x += x * pull;
      moves.get(from).y += y * pull;
      moves.get(to).x -= x * pull;
      moves.get(to).y -= y * pull;
    }
    for (const [node, move] of moves) {
      const length = Math.hypot(move.x, move.y) || 1;
      const step = Math.min(length, heat) / length;
      places[node].x += move.x * step;
      places[node].y += move.y * step;
    }
  }
}

/** Adds to `moves` how nodes push away those in reach. Squares of a grid find them. */
function push(group, places, moves) {
  const squares = new Map();
  const square = (x, y) => x * 1e6 + y;
  const column = (node) => Math.floor(places[node].x / REACH);
  const row = (node) => Math.floor(places[node].y / REACH);
  for (const node of group) {
    const name = square(column(node), row(node));
    if (!squares.has(name)) squares.set(name, []);
    squares.get(name).push(node);
  }
  for (const node of group) {
    const [here, move] = [places[node], moves.get(node)];
    for (let x = column(node) - 1; x <= column(node) + 1; x += 1) {
      for (let y = row(node) - 1; y <= row(node) + 1; y += 1) {
        for (const other of squares.get(square(x, y)) ?? []) {
          if (other === node) continue;
          // Nodes at one place part in directions that their numbers give.
          const right = here.x - places[other].x || Math.cos(node) * 0.1;
          const down = here.y - places[other].y || Math.sin(node) * 0.1;
          const length = Math.max(Math.hypot(right, down), 1);
          if (length > REACH) continue;
          const force = (PUSH * (1 / length - 1 / REACH)) / length;
          move.x += right * force;
          move.y += down * force;
        }
      }
    }
  }
}

/** Puts the groups beside each other, in rows. */
function shelve(groups, places) {
  const boxes = groups.map((group) => {
    const [xs, ys] = [group.map((node) => places[node].x), group.map((node) => places[node].y)];
    const least = (values) => values.reduce((a, b) => Math.min(a, b));
    const most = (values) => values.reduce((a, b) => Math.max(a, b));
    return { group, x: least(xs), y: least(ys), width: most(xs) - least(xs), height: most(ys) - least(ys) };
  });
  const area = boxes.reduce((sum, box) => sum + (box.width + LINK) * (box.height + LINK), 0);
  const limit = Math.max(Math.sqrt(area) * 1.3, boxes[0]?.width ?? 0);
  let [x, y, tallest] = [0, 0, 0];
  for (const box of boxes) {
    if (x > 0 && x + box.width > limit) {
      y += tallest + LINK;
      [x, tallest] = [0, 0];
    }
    for (const node of box.group) {
      places[node].x += x - box.x;
      places[node].y += y - box.y;
    }
    x += box.width + LINK;
    tallest = Math.max(tallest, box.height);
  }
}
