// The switch that every block of a policy has.
import { z } from 'zod';
import { DOC_DEFAULT } from '../fields.ts';

export const modeWithShadow = z
  .enum(['Enforce', 'Shadow', 'Disabled'])
  .meta({
    description: `Shadow only counts what the block would do on live traffic, without affecting it; what is enforced is as if the block were absent here. Disabled switches the block off, even if a policy with a wider target sets it; nothing else does.`,
    [DOC_DEFAULT]: 'Enforce',
  })
  .optional();
