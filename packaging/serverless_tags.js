// The tags of the stack and its resources, from TAGS=team=db,env=prod.
const pairs = (process.env.TAGS || "").split(",").filter(Boolean);
module.exports = Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]));
