// Makes outputs of the kind that is named, below out/<kind>.
'use strict';
const fs = require('fs');
const path = require('path');

const kind = process.argv[2];
const out = path.join('out', kind);
const dir = (...names) => fs.mkdirSync(path.join(out, ...names), { recursive: true });
const file = (name, content = `content of ${name}`) => fs.writeFileSync(path.join(out, name), content);
const link = (target, name) => fs.symlinkSync(target, path.join(out, name));

const kinds = {
  empty() {
    dir('nothing', 'at', 'all');
    file('no-bytes', '');
  },
  modes() {
    for (const mode of [0o755, 0o700, 0o644, 0o600, 0o444, 0o400, 0o666]) {
      file(mode.toString(8));
      fs.chmodSync(path.join(out, mode.toString(8)), mode);
    }
  },
  // What Nx itself does not keep.
  lossy() {
    for (const mode of [0o4755, 0o2755, 0o1777]) {
      file(mode.toString(8));
      fs.chmodSync(path.join(out, mode.toString(8)), mode);
    }
    dir('private');
    file('private/file');
    fs.chmodSync(path.join(out, 'private'), 0o700);
    file('one');
    fs.linkSync(path.join(out, 'one'), path.join(out, 'two'));
  },
  names() {
    const names = ['with space', ' leading', 'trailing ', 'ünïcödé ✓ 日本語 🧪', 'e\u0301 (two code points)', '\u00e9 (one)',
      'new\nline', 'tab\t', 'back\\slash', 'quo"te\'s', '-rf', '--', '*', '?', '[a]', '{b,c}', '$HOME', '`id`', '%2e%2e%2f', 'a:b', '..dots',
      '...', '.hidden', '~', '#', '!', '&', '(x)', 'con', 'terminalOutput', 'code', '@LongLink', 'x'.repeat(101), 'y'.repeat(255)];
    names.forEach((name) => file(name, `content of ${JSON.stringify(name)}`));
    const deep = Array.from({ length: 8 }, (_, i) => String(i).repeat(150));
    dir(...deep);
    file(path.join(...deep, 'at the bottom'));
  },
  links() {
    file('target');
    link('target', 'to-file');
    dir('folder', 'sub');
    file('folder/inside');
    link('folder', 'to-folder');
    link('../../target', 'folder/sub/up');
  },
  winding() {
    file('target');
    dir('folder');
    link('../folder/../target', 'folder/link');
  },
  dangling() {
    link('not-there', 'to-nothing');
    link('x'.repeat(150) + '/' + 'y'.repeat(150), 'to-a-long-name');
  },
  overlap() {
    dir('lib', 'deep');
    file('top.js');
    file('lib/middle.js');
    file('lib/deep/bottom.js');
  },
  sparse() {
    const f = fs.openSync(path.join(out, 'holes'), 'w');
    fs.ftruncateSync(f, 4 << 20);
    fs.writeSync(f, 'island', 1 << 20);
    fs.closeSync(f);
  },
  absolute() {
    file('target');
    link(path.resolve(out, 'target'), 'link');
  },
  escaping() {
    link('../'.repeat(20) + 'etc/passwd', 'link');
  },
};

kinds[kind]();
