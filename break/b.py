from lib import *
# B: deleted primary whose identifier a live secondary carries too; then promotion
for kind in ['my','pg','sqlite']:
    if kind=='sqlite':
        for f in ['/tmp/brk/b.db','/tmp/brk/b.db-wal','/tmp/brk/b.db-shm']:
            if os.path.exists(f): os.remove(f)
        url='sqlite:///tmp/brk/b.db?mode=rwc'
        import sqlite3
        def sql(q):
            c=sqlite3.connect('/tmp/brk/b.db',timeout=5); r=c.execute(q).fetchall(); c.commit(); c.close(); return r
    else:
        url=newdb(kind,'brk_b')
        sql=(lambda q: my(23307,q.replace('"','`'),db='brk_b')) if kind=='my' else (lambda q: pg(15432,q,db='brk_b'))
    s=Svc(url)
    print('==',kind)
    print('1',show(s.call('lorraine@x','123456')))
    print('2',show(s.call('mcfly@x','123456')))
    sql('UPDATE "Contact" SET "deletedAt"="createdAt" WHERE id=1')
    print('phone before promotion',show(s.call(None,'123456')))
    print('link (promotes)',show(s.call('mcfly@x','777')))
    print('phone after promotion',show(s.call(None,'123456')))
    print('mcfly',show(s.call('mcfly@x',None)))
    # merge variant
    print('A',show(s.call('a@x','1')))
    print('P',show(s.call('p@x','2')))
    print('S',show(s.call('s@x','2')))
    r=s.call('s@x','3'); print('S2',show(r)); 
    sid=r[2]['contact']['secondaryContactIds'][0]; 
    sql(f'UPDATE "Contact" SET "deletedAt"="createdAt" WHERE id={sid}')
    print('s before',show(s.call('s@x',None)))
    print('merge A,P',show(s.call('a@x','2')))
    print('s after merge',show(s.call('s@x',None)))
    print('a',show(s.call('a@x',None)))
    s.stop()
