/**
 * The TypeScript declarations of the contract: a sample client compiles against them, `client.js`
 * is what they declare, and every example of src/wire/PROTOCOL.md has the declared
 * type.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const ROOT = join(HERE, '../..');
const TSC = join(HERE, 'node_modules/typescript/bin/tsc');

/** How PROTOCOL.md marks its examples, and the type of each kind. */
const NAMES = {
  client: 'ClientMessage',
  server: 'ServerMessage',
  'client planned': 'PlannedClientMessage',
  'server planned': 'PlannedServerMessage',
};

/** @param {string} project a tsconfig.json */
function compile(project) {
  const { status, stdout } = spawnSync(process.execPath, [TSC, '-p', project], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
}

/** The JSON examples of PROTOCOL.md, each as a constant of its type. */
function examples() {
  const text = readFileSync(join(ROOT, 'src/wire/PROTOCOL.md'), 'utf8');
  const lines = [];
  const add = (union, json) => lines.push(`export const e${lines.length}: ${union} = ${json};`);
  for (const [, kind, json] of text.matchAll(/^```json (.+)\n([^]*?)\n```$/gm)) {
    assert.ok(kind in NAMES, kind);
    add(NAMES[kind], json);
  }
  const [, call] = text.match(/^```text call\n([^]*?)\n```$/m);
  for (const [, direction, json] of call.matchAll(/^[AB] ([<>]) (.+)$/gm)) {
    add(direction === '>' ? 'ClientMessage' : 'ServerMessage', json);
  }
  return lines;
}

describe('the TypeScript declarations', { timeout: 60_000 }, () => {
  test('fit a sample client, and client.js fits them', () => {
    compile(join(HERE, 'types/tsconfig.json'));
  });

  test('fit every example of PROTOCOL.md', () => {
    const folder = mkdtempSync(join(HERE, 'types/examples-'));
    try {
      const lines = examples();
      assert.ok(lines.length > 40, `${lines.length} examples`);
      const types = Object.values(NAMES).join(', ');
      lines.unshift(`import type { ${types} } from '../../../../src/wire/contract/messages.js';`);
      writeFileSync(join(folder, 'examples.ts'), lines.join('\n'));
      const project = { extends: '../tsconfig.json', files: ['examples.ts'] };
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(project));
      compile(join(folder, 'tsconfig.json'));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
