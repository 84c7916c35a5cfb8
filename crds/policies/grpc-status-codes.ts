// Status codes of gRPC, for the blocks that decide by them.
import { z } from 'zod';

/** All but OK, by their numbers (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md). */
export const GRPC_STATUS_CODES = [
  'Cancelled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
] as const;
export type GrpcStatusCode = (typeof GRPC_STATUS_CODES)[number];

export const grpcStatusCode = z.enum(GRPC_STATUS_CODES).meta({ description: 'A status code of gRPC.' });
