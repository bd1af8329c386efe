import { expect, test } from 'vitest';
import { hashPassword, isPassword } from '../../server/passwords.ts';

test('a hash fits its password alone, and no two are the same', async () => {
  const [hash, again] = await Promise.all([hashPassword('señor'), hashPassword('señor')]);
  expect(hash).not.toBe(again);
  expect(hash).not.toContain('señor');
  expect(await isPassword('señor', hash)).toBe(true);
  expect(await isPassword('señora', hash)).toBe(false);
  expect(await isPassword('', hash)).toBe(false);
});

test('a hash is read with the parameters that it was made with', async () => {
  // Of RFC 7914, with the first 32 bytes of its key.
  const hash = Buffer.from('fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162', 'hex');
  const stored = `$scrypt$ln=10,r=8,p=16$${Buffer.from('NaCl').toString('base64')}$${hash.toString('base64')}`;
  expect(await isPassword('password', stored)).toBe(true);
  expect(await isPassword('passwords', stored)).toBe(false);
});

test('what is no hash fits no password, and none may take more memory than others', async () => {
  const [salt, key] = [Buffer.alloc(16).toString('base64'), Buffer.alloc(32).toString('base64')];
  for (const hash of ['', 'password', `$scrypt$ln=30,r=8,p=1$${salt}$${key}`, `$scrypt$ln=0,r=0,p=0$${salt}$${key}`])
    expect(await isPassword('password', hash)).toBe(false);
});
