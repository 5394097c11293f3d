// Formats the Lua files that are named; with --check first it changes none and fails where one would be.

import { readFileSync, writeFileSync } from 'node:fs';
import {
  CollapseSimpleStatement, Config, IndentType, LuaVersion, OutputVerification, QuoteStyle, formatCode,
} from '@johnnymorganz/stylua';

const check = process.argv[2] === '--check';
for (const file of process.argv.slice(check ? 3 : 2)) {
  const config = Config.new();
  config.syntax = LuaVersion.Lua51;
  config.column_width = 100;
  config.indent_type = IndentType.Spaces;
  config.indent_width = 2;
  config.quote_style = QuoteStyle.AutoPreferSingle;
  config.collapse_simple_statement = CollapseSimpleStatement.Always;
  const text = readFileSync(file, 'utf8');
  const formatted = formatCode(text, config, undefined, OutputVerification.Full);
  if (formatted === text) continue;
  if (check) {
    console.error(`${file}: not formatted; run make format`);
    process.exitCode = 1;
  } else {
    writeFileSync(file, formatted);
  }
}
