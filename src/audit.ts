import { Command } from 'commander';
import { loadConfig } from './config.js';
import { DataDirectory } from './directory.js';
import { type AuditRecord, decodeAudit } from './lane/audit-record.js';
import { closeLaneStorage, openLaneStorage } from './log/lane-storage.js';
import { KERNEL_VERSION } from './partition/partition.js';

/** `tallystick audit`: every SET and DELETE in the log that is kept, read from the data directory, whether a server has it open or not. */
export function auditCommand(environment: NodeJS.ProcessEnv, stdout: { write(text: string): unknown }): Command {
  return new Command('audit')
    .description(
      'print every SET and DELETE that the log still holds, with its reason, oldest first, from a data directory',
    )
    .option('--data-dir <dir>', 'of the server, which may be running (default: tallystick-data)')
    .option('--json', 'one JSON object a line')
    .addHelpText(
      'after',
      '\nThey are kept as long as the log: logRetentionSeconds and logRetentionBytes (tallystick config print).\n\nExample:\n  tallystick audit --data-dir /var/lib/tallystick',
    )
    .action(async ({ json, ...flags }: { json?: boolean; dataDir?: string }) => {
      const { dataDir } = loadConfig(flags, environment);
      for (const record of await auditOf(dataDir))
        stdout.write(`${json ? JSON.stringify(record) : sentence(record)}\n`);
    });
}

/** All audit records that a data directory holds, oldest first. @throws TallystickError DIRECTORY_INVALID, LOG_CORRUPT */
async function auditOf(dataDir: string): Promise<AuditRecord[]> {
  const records: AuditRecord[] = [];
  for (const { path, partitions } of DataDirectory.lanesOf(dataDir)) {
    const storage = await openLaneStorage(
      path,
      { partitions, kernelVersion: KERNEL_VERSION },
      { readOnly: true, isGrowing: true },
    );
    try {
      await storage.log.audit(({ value }) => records.push(decodeAudit(value)));
    } finally {
      await closeLaneStorage(storage);
    }
  }
  return records.sort((a, b) => a.time - b.time);
}

function sentence({ time, counter, value, previous, result, reason, client, remote }: AuditRecord): string {
  const refused = result === 'ABSENT' ? 'there was none' : `${result}, stays ${previous}`;
  const change = result === 'OK' ? `${previous} -> ${value ?? 'deleted'}` : refused;
  const columns = [new Date(time).toISOString(), counter, change, reason, `${client} at ${remote}`];
  // JSON's escapes keep a name or a reason from steering the terminal.
  return columns.map((column) => JSON.stringify(column).slice(1, -1)).join('  ');
}
