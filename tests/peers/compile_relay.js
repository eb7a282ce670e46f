// Compiles the files given for Relay, in place, as the build of a Relay project would: relay-compiler has run before.
import { readFileSync, writeFileSync } from "node:fs";
import { transformSync } from "@babel/core";

const plugins = [["babel-plugin-relay", { eagerEsModules: true }]];
for (const file of process.argv.slice(2)) {
  const { code } = transformSync(readFileSync(file, "utf8"), { filename: file, plugins, babelrc: false, configFile: false });
  // Babel leaves the extension out, as bundlers like it; Node wants it.
  writeFileSync(file, code.replace(/__generated__\/(\w+)\.graphql"/g, '__generated__/$1.graphql.js"'));
}
