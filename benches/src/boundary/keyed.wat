;; A keyed operator by hand, for a bench: adds one to each key's count and fills the rest of its state with the count's
;; lowest byte, in the columns as the host laid them into memory, and gives these back as an update of all keys.
;;
;; Records stand at fixed addresses, laid out by the canonical ABI. COLUMNS is 1 (the count alone) or 2.
(module
  (memory (export "memory") 64)

  ;; Texts.
  (data (i32.const 64) "out")
  (data (i32.const 72) "state")
  (data (i32.const 80) "count")
  (data (i32.const 88) "int64")
  (data (i32.const 96) "rest")
  (data (i32.const 104) "binary")
  ;; 128: a requirement of nothing. 144: the port `out`, without columns.
  (data (i32.const 144) "\40\00\00\00\03\00\00\00")
  ;; 168: the fields `count` and `rest`.
  (data (i32.const 168) "\50\00\00\00\05\00\00\00\58\00\00\00\05\00\00\00")
  (data (i32.const 188) "\60\00\00\00\04\00\00\00\68\00\00\00\06\00\00\00")
  ;; 208: their initial values, int64(0) and an empty binary.
  (data (i32.const 208) "\02")
  (data (i32.const 224) "\05")
  ;; 240: the table `state`: its name, its kind `value`, its fields, their initial values.
  (data (i32.const 240) "\48\00\00\00\05\00\00\00")
  (data (i32.const 256) "\a8\00\00\00\0COLUMNS\00\00\00\d0\00\00\00\0COLUMNS\00\00\00")
  ;; 320: ok(description): its inputs, ports, tables.
  (data (i32.const 324) "\80\00\00\00\01\00\00\00\90\00\00\00\01\00\00\00\f0\00\00\00\01\00\00\00")
  ;; 360: ok, of `open`. 400: ok(outputs): one update.
  (data (i32.const 412) "\00\02\00\00\01\00\00\00")
  ;; 512: the update: of table 0, of all keys, these columns.
  (data (i32.const 528) "\20\02\00\00\0COLUMNS\00\00\00")
  ;; 544: column 0, to be filled in. 576: column 1.
  (data (i32.const 576) "\01")

  (global $free (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param $old i32) (param $was i32) (param $align i32) (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
    (global.set $free (i32.add (local.get $at) (local.get $len)))
    (local.get $at))

  (func (export "wasmill:operator/keyed-operator@0.1.0#describe")
    (param i32 i32 i32 i32 i32 i32) (result i32)
    (i32.const 320))
  (func (export "wasmill:operator/keyed-operator@0.1.0#open")
    (param i32 i32 i32 i32 i32 i32) (result i32)
    (i32.const 360))
  (func (export "wasmill:operator/keyed-operator@0.1.0#process") (param $call i32) (result i32)
    (local $columns i32) (local $count i32) (local $end i32) (local $offset i32) (local $rest i32)
    (local.set $columns (i32.load (i32.load offset=84 (local.get $call))))
    (memory.copy (i32.const 548) (local.get $columns) (i32.const 28))
    (local.set $count (i32.load offset=20 (local.get $columns)))
    (local.set $end (i32.add (local.get $count) (i32.load offset=24 (local.get $columns))))
    (if (i32.eq (i32.const COLUMNS) (i32.const 2)) (then
      (memory.copy (i32.const 580) (i32.add (local.get $columns) (i32.const 28)) (i32.const 28))
      (local.set $offset (i32.load offset=40 (local.get $columns)))
      (local.set $rest (i32.load offset=48 (local.get $columns)))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $count) (local.get $end)))
        (i64.store (local.get $count) (i64.add (i64.load (local.get $count)) (i64.const 1)))
        (if (i32.eq (i32.const COLUMNS) (i32.const 2)) (then
          (memory.fill
            (i32.add (local.get $rest) (i32.load (local.get $offset)))
            (i32.load8_u (local.get $count))
            (i32.sub (i32.load offset=4 (local.get $offset)) (i32.load (local.get $offset))))
          (local.set $offset (i32.add (local.get $offset) (i32.const 4)))))
        (local.set $count (i32.add (local.get $count) (i32.const 8)))
        (br $next)))
    (i32.const 400))
  (func (export "cabi_post_wasmill:operator/keyed-operator@0.1.0#process") (param i32)
    (global.set $free (i32.const 4096))))
